"""Open loop: requests are due at fixed instants; latency counts from the instant one was due.

A generator that waits for replies stops asking while the server stalls, and so leaves out what
users would have waited (coordinated omission). Here the schedule is made before the run.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loadtest.connections import Connections
from loadtest.http_client import Target
from loadtest.samples import Exchange, Sample
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
    requests = [(target.request(body.content, headers), body.candidates) for body in bodies]
    # In a thread, so that the caller's loop can watch the server meanwhile.
    exchanges = await asyncio.to_thread(
        _drive, target, requests, due.tolist(), connections, float(due[-1]) + drain_s
    )
    return [one.sample() for one in exchanges]


def _drive(
    target: Target,
    bodies: Sequence[tuple[bytes, int]],
    due: Sequence[float],
    connections: int,
    until: float,
) -> list[Exchange]:
    done: list[Exchange | None] = [None] * len(due)
    asked: dict[int, tuple[int, float]] = {}  # connection -> number of its request, when it sent
    following = 0  # number of the request to send next
    with Connections(target, connections) as opened:
        idle = deque(range(connections))
        began = time.perf_counter()
        while (now := time.perf_counter() - began) < until and (asked or following < len(due)):
            while idle and following < len(due) and due[following] <= now:
                # In turns: of a server's processes each has some of the connections.
                number = idle.popleft()
                request, candidates = bodies[following % len(bodies)]
                now = time.perf_counter() - began
                if opened.send(number, request):
                    asked[number] = following, now
                else:
                    failed_at = time.perf_counter() - began
                    done[following] = Exchange(due[following], now, failed_at, candidates, None)
                    idle.append(number)
                following += 1
            wake = due[following] if idle and following < len(due) else until
            for number, reply in opened.wait(wake - now):
                now = time.perf_counter() - began
                at, sent_at = asked.pop(number)
                done[at] = Exchange(due[at], sent_at, now, bodies[at % len(bodies)][1], reply)
                idle.append(number)
    sent_at = dict(asked.values())
    return [
        found or Exchange(instant, sent_at.get(at), now, bodies[at % len(bodies)][1], None)
        for at, (instant, found) in enumerate(zip(due, done, strict=True))
    ]
