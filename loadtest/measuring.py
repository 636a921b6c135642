"""One measurement: drive a server in closed or open loop while watching its CPU and memory."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.closed_loop import closed_loop
from loadtest.http_client import Target
from loadtest.open_loop import Arrivals, open_loop, schedule
from loadtest.processes import Server, usage
from loadtest.samples import Sample, goodput, summarise
from loadtest.traffic import Body

Run = dict[str, Any]

# Capacity is measured on full answers: no deadline may turn work into a degraded reply.
NO_HURRY_MS = 5_000.0
CAPACITY_CONNECTIONS = 4
PROMISED_MS = 40.0  # end to end

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
    asyncio.run(
        closed_loop(
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
        closed_loop(
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
    arrivals: Arrivals = "poisson",
) -> Run:
    """Latencies at `rate` requests a second, and goodput: full answers within `PROMISED_MS`.

    Args:
        deadline_ms: what requests ask for; without it nothing is given up to be in time.
        arrivals: at random, as from independent users, or evenly, as from a load balancer.
    """
    due = schedule(rate, pace.seconds, arrivals=arrivals, seed=seed)
    return {"rate": round(rate, 3), "deadline_ms": deadline_ms} | _measured(
        server,
        pace.seconds,
        open_loop(target, bodies, due, connections=connections, headers=_headers(deadline_ms)),
    )


def _headers(deadline_ms: float) -> dict[str, str]:
    return {"X-Request-Timeout-Ms": f"{deadline_ms:g}"}


def _measured(server: Server, seconds: float, load: Coroutine[Any, Any, list[Sample]]) -> Run:
    pids, resident = server.pids(), list[float]()
    before, own_before = usage(pids), time.process_time()

    async def watched() -> list[Sample]:
        watch = asyncio.create_task(_watch_memory(pids, resident))
        try:
            return await load
        finally:
            watch.cancel()

    samples = asyncio.run(watched())
    own_after, after = time.process_time(), server.usage()
    return summarise(samples, seconds) | {
        **goodput(samples, PROMISED_MS, seconds),
        "limit_ms": PROMISED_MS,
        "server_cpu_s": round(after.cpu_s - before.cpu_s, 3),
        "generator_cpu_s": round(own_after - own_before, 3),
        "rss_mib": [round(mib, 1) for mib in (*resident, after.rss_mib)],
    }


async def _watch_memory(pids: Sequence[int], resident: list[float]) -> None:
    while True:
        resident.append(usage(pids).rss_mib)
        await asyncio.sleep(_RSS_EVERY_S)
