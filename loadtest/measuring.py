"""One measurement: drive a server in closed or open loop while watching its CPU and memory."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import uvloop

from loadtest.closed_loop import closed_loop
from loadtest.http_client import Target
from loadtest.open_loop import open_loop, schedule
from loadtest.processes import Server
from loadtest.samples import Sample, goodput, summarise
from loadtest.traffic import Body

Run = dict[str, Any]

# Capacity is measured on full answers: no deadline may turn work into a degraded reply.
NO_HURRY_MS = 5_000.0
CAPACITY_CONNECTIONS = 4

_RSS_EVERY_S = 0.5


@dataclass(frozen=True)
class Pace:
    """How long everything takes."""

    rounds: int = 5
    seconds: float = 8.0
    warm_up_s: float = 2.0
    seed: int = 1


def warm_up(target: Target, bodies: Sequence[Body], pace: Pace) -> None:
    """Load that is not measured."""
    _drive(
        lambda: closed_loop(
            target,
            bodies,
            connections=CAPACITY_CONNECTIONS,
            seconds=pace.warm_up_s,
            headers=_headers(NO_HURRY_MS),
        )
    )


def in_closed_loop(
    server: Server, target: Target, bodies: Sequence[Body], pace: Pace, *, connections: int
) -> Run:
    """Full answers a second, with `connections` requests always in flight."""
    return {"connections": connections} | _measured(
        server,
        pace.seconds,
        lambda: closed_loop(
            target,
            bodies,
            connections=connections,
            seconds=pace.seconds,
            headers=_headers(NO_HURRY_MS),
        ),
    )


def in_open_loop(
    server: Server,
    target: Target,
    bodies: Sequence[Body],
    pace: Pace,
    *,
    rate: float,
    seed: int,
    deadline_ms: float = NO_HURRY_MS,
    connections: int = 64,
) -> Run:
    """Latencies at `rate` requests a second, and goodput: full answers within `deadline_ms`."""
    due = schedule(rate, pace.seconds, seed=seed)
    return {"rate": round(rate, 3), "deadline_ms": deadline_ms} | _measured(
        server,
        pace.seconds,
        lambda: open_loop(
            target, bodies, due, connections=connections, headers=_headers(deadline_ms)
        ),
        deadline_ms=deadline_ms,
    )


def _headers(deadline_ms: float) -> dict[str, str]:
    return {"X-Request-Timeout-Ms": f"{deadline_ms:g}"}


def _measured(
    server: Server,
    seconds: float,
    load: Callable[[], Coroutine[Any, Any, list[Sample]]],
    *,
    deadline_ms: float = NO_HURRY_MS,
) -> Run:
    before, own_before = server.usage(), time.process_time()
    resident: list[float] = []

    async def watched() -> list[Sample]:
        watch = asyncio.create_task(_watch_memory(server, resident))
        try:
            return await load()
        finally:
            watch.cancel()

    samples = _drive(watched)
    after, own_after = server.usage(), time.process_time()
    return summarise(samples, seconds) | {
        **goodput(samples, deadline_ms, seconds),
        "server_cpu_s": round(after.cpu_s - before.cpu_s, 3),
        "generator_cpu_s": round(own_after - own_before, 3),
        "rss_mib": [round(mib, 1) for mib in (*resident, after.rss_mib)],
    }


async def _watch_memory(server: Server, resident: list[float]) -> None:
    while True:
        resident.append(server.usage().rss_mib)
        await asyncio.sleep(_RSS_EVERY_S)


def _drive(load: Callable[[], Coroutine[Any, Any, list[Sample]]]) -> list[Sample]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load())
