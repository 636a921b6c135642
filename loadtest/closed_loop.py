"""Closed loop: a connection sends its next request when the last is answered. Measures capacity."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle

from loadtest.http_client import Connection, ConnectionLost, Target
from loadtest.samples import UNANSWERED, Sample, sample
from loadtest.traffic import Body

_RECONNECT_S = 0.05


async def closed_loop(
    target: Target,
    bodies: Sequence[Body],
    *,
    connections: int,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    patience_s: float = 10.0,
) -> list[Sample]:
    """Keep `connections` requests in flight for `seconds`; samples in the order of their replies.

    Args:
        patience_s: how long a request may outlast the run before it counts as unanswered.
    """
    requests = cycle([(target.request(body.content, headers), body.candidates) for body in bodies])
    opened = [await Connection.open(target) for _ in range(connections)]
    began = time.perf_counter()  # uvloop's own clock ticks in milliseconds

    def clock() -> float:
        return time.perf_counter() - began

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(_drive(target, one, requests, clock, seconds, patience_s))
            for one in opened
        ]
    return sorted((s for task in running for s in task.result()), key=lambda s: s.done_at)


async def _drive(
    target: Target,
    connection: Connection,
    requests: Iterator[tuple[bytes, int]],
    clock: Callable[[], float],
    seconds: float,
    patience_s: float,
) -> list[Sample]:
    samples = []
    while (sent_at := clock()) < seconds:
        request, candidates = next(requests)
        try:
            async with asyncio.timeout(seconds - sent_at + patience_s):
                if connection.is_closed:
                    connection = await Connection.open(target)
                reply = await connection.send(request)
        except (ConnectionLost, OSError):
            samples.append(Sample(sent_at, sent_at, clock(), UNANSWERED, candidates))
            await asyncio.sleep(_RECONNECT_S)
        else:
            samples.append(sample(sent_at, sent_at, clock(), candidates, reply))
    connection.close()
    return samples
