"""Closed loop: a connection sends its next request when the last is answered. Measures capacity."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import cycle

from loadtest.connections import Connections
from loadtest.http_client import Target
from loadtest.samples import Exchange, Sample
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
    requests = [(target.request(body.content, headers), body.candidates) for body in bodies]
    # In a thread, so that the caller's loop can watch the server meanwhile.
    exchanges = await asyncio.to_thread(
        _drive, target, requests, connections, seconds, seconds + patience_s
    )
    return [one.sample() for one in exchanges]


def _drive(
    target: Target,
    bodies: Sequence[tuple[bytes, int]],
    connections: int,
    seconds: float,
    until: float,
) -> list[Exchange]:
    requests = cycle(bodies)
    done: list[Exchange] = []
    asked: dict[int, tuple[float, int]] = {}  # connection -> when it sent, candidates
    with Connections(target, connections) as opened:
        began = time.perf_counter()
        idle = [(0.0, number) for number in range(connections)]  # connections by when they may send
        while (now := time.perf_counter() - began) < seconds or (asked and now < until):
            while now < seconds and idle and idle[0][0] <= now:
                _, number = heappop(idle)
                request, candidates = next(requests)
                now = time.perf_counter() - began
                if opened.send(number, request):
                    asked[number] = now, candidates
                else:
                    done.append(Exchange(now, now, time.perf_counter() - began, candidates, None))
                    heappush(idle, (now + _RECONNECT_S, number))
            wake = min([seconds, *(at for at, _ in idle[:1])]) if now < seconds else until
            for number, reply in opened.wait(wake - now):
                now = time.perf_counter() - began
                sent_at, candidates = asked.pop(number)
                done.append(Exchange(sent_at, sent_at, now, candidates, reply))
                heappush(idle, (now if reply else now + _RECONNECT_S, number))
    done += [Exchange(at, at, now, candidates, None) for at, candidates in asked.values()]
    return done
