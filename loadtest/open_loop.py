"""Open loop: requests are due at fixed instants; latency counts from the instant one was due.

A generator that waits for replies stops asking while the server stalls, and so leaves out what
users would have waited (coordinated omission). Here the schedule is made before the run. The loop's
timer ticks in milliseconds: latencies are up to 1 ms too long, never too short.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loadtest.http_client import Connection, ConnectionLost, Target
from loadtest.samples import UNANSWERED, Sample, sample
from loadtest.traffic import Body

Arrivals = Literal["poisson", "even"]


def schedule(
    rate: float, seconds: float, *, arrivals: Arrivals = "poisson", seed: int = 1
) -> NDArray[np.float64]:
    """Instants in [0, seconds), ascending: `rate` a second, even or as independent users ask."""
    if arrivals == "even":
        return np.arange(0, seconds, 1 / rate)
    draw = np.random.default_rng(seed)
    # Six standard deviations more than expected: the draws never run out before `seconds`.
    count = int(rate * seconds + 6 * np.sqrt(rate * seconds) + 10)
    instants = draw.exponential(1 / rate, count).cumsum()
    return instants[instants < seconds]


async def open_loop(
    target: Target,
    bodies: Sequence[Body],
    due: NDArray[np.float64],
    *,
    connections: int = 64,
    drain_s: float = 2.0,
    headers: Mapping[str, str] | None = None,
) -> list[Sample]:
    """Send one request at each instant of `due`; one sample each, in that order.

    When all connections are busy, requests wait in order of their instants, and that wait counts.
    The run ends `drain_s` after the last instant: what has no reply then is unanswered.
    """
    requests = cycle([(target.request(body.content, headers), body.candidates) for body in bodies])
    waiting: asyncio.Queue[tuple[int, bytes, int]] = asyncio.Queue()
    samples: list[Sample | None] = [None] * len(due)
    sizes: list[int] = []
    opened = [await Connection.open(target) for _ in range(connections)]
    began = time.perf_counter()  # uvloop's own clock ticks in milliseconds

    def clock() -> float:
        return time.perf_counter() - began

    workers = [asyncio.create_task(_serve(target, c, waiting, due, clock, samples)) for c in opened]
    try:
        for number, instant in enumerate(due.tolist()):
            while (early := instant - clock()) > 0:  # noqa: ASYNC110, a timer may fire early
                await asyncio.sleep(early)
            request, candidates = next(requests)
            sizes.append(candidates)
            waiting.put_nowait((number, request, candidates))
        async with asyncio.timeout(drain_s):
            await waiting.join()
    except TimeoutError:
        pass  # what is still waiting becomes an unanswered sample below
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        for connection in opened:
            connection.close()
    ended = clock()
    return [
        found or Sample(instant, None, ended, UNANSWERED, size)
        for found, instant, size in zip(samples, due.tolist(), sizes, strict=True)
    ]


async def _serve(
    target: Target,
    connection: Connection,
    waiting: asyncio.Queue[tuple[int, bytes, int]],
    due: NDArray[np.float64],
    clock: Callable[[], float],
    samples: list[Sample | None],
) -> None:
    while True:
        number, request, candidates = await waiting.get()
        due_at, sent_at = float(due[number]), clock()
        try:
            if connection.is_closed:
                connection = await Connection.open(target)
            reply = await connection.send(request)
            samples[number] = sample(due_at, sent_at, clock(), candidates, reply)
        except (ConnectionLost, OSError):
            samples[number] = Sample(due_at, sent_at, clock(), UNANSWERED, candidates)
        finally:
            waiting.task_done()
