"""`python -m loadtest.stall_drill`: inference stands still for 200 ms, again and again, under load.

Passed when at least 99 % of all replies arrive before their deadline, every reply that is not full
names its reason, and the service is back to full answers after each stall by itself.
"""

import asyncio
import os
import signal
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from loadtest.bench import prepared
from loadtest.catalogue import Catalogue
from loadtest.contenders import Place, ask
from loadtest.http_client import Target
from loadtest.machine import ROOT
from loadtest.measuring import CAPACITY_CONNECTIONS, Pace, in_closed_loop, warm_up
from loadtest.open_loop import open_loop, schedule
from loadtest.processes import Server, free_port, running
from loadtest.report import write_report
from loadtest.result_files import RESULTS, look_around, new_result
from loadtest.samples import Sample, summarise
from loadtest.stalling_service import STALL_MS
from loadtest.traffic import Body, make_bodies

LEAST_IN_TIME = 0.99
STEADY = 10  # full answers in a row after which the service counts as recovered

_READY_S = 120.0
_SLACK_S = 0.020  # the generator opens its connections before its clock starts


@dataclass(frozen=True)
class Verdict:
    """What the samples say. Shares are of all requests; `recovered_ms` is one number a stall."""

    requests: int
    in_time: float
    in_time_in_stalls: float
    degraded_in_stalls: float
    unexplained: int
    recovered_ms: Sequence[float | None]

    @property
    def passed(self) -> bool:
        return (
            self.in_time >= LEAST_IN_TIME
            and self.unexplained == 0
            and all(ms is not None for ms in self.recovered_ms)
        )


def judge(
    samples: Sequence[Sample], stalls: Sequence[float], stall_s: float, deadline_s: float
) -> Verdict:
    """Judge a run by when its stalls began (seconds since the run began, ascending).

    Unexplained is what is neither an answer nor a refusal that says when to come back: no reply, an
    error, a 503 without Retry-After.
    """
    ordered = sorted(samples, key=lambda s: s.due_at)
    in_time = [s.status == 200 and s.latency_ms <= deadline_s * 1000 for s in ordered]
    struck = [
        at
        for at, s in enumerate(ordered)
        if (stall := bisect_right(stalls, s.due_at + _SLACK_S))
        and s.due_at < stalls[stall - 1] + stall_s + _SLACK_S
    ]
    recovered: list[float | None] = []
    for began in stalls:
        ended = began + stall_s
        later = [s for s in ordered if s.due_at >= ended]
        runs = range(len(later) - STEADY + 1)
        steady = (later[n] for n in runs if all(s.is_full for s in later[n : n + STEADY]))
        first = next(steady, None)
        recovered.append(None if first is None else round((first.due_at - ended) * 1000, 1))
    return Verdict(
        requests=len(ordered),
        in_time=sum(in_time) / len(ordered),
        in_time_in_stalls=sum(in_time[n] for n in struck) / max(len(struck), 1),
        degraded_in_stalls=sum(bool(ordered[n].degraded) for n in struck) / max(len(struck), 1),
        unexplained=sum(map(_is_unexplained, ordered)),
        recovered_ms=recovered,
    )


def _is_unexplained(sample: Sample) -> bool:
    if sample.status == 200:  # whether full or degraded, it says so; late ones are counted as such
        return False
    return not (sample.status == 503 and sample.retry_after)


@contextmanager
def stalling(place: Place, probe: Body, stall_ms: float) -> Iterator[tuple[Server, Target]]:
    """The service with the fault, once it has answered `probe`."""
    port = free_port()
    target = Target(port)

    def answers() -> bool:
        try:
            return bool(ask(target, probe))
        except httpx.HTTPError:
            return False

    command = [sys.executable, "-m", "loadtest.stalling_service", "serve"]
    environment = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "FINERANK_STATE_DIR": str(place.state),
        STALL_MS: f"{stall_ms:g}",
    }
    with running(
        "stalling",
        [*command, "--port", str(port), "--models", str(place.models)],
        port=port,
        log=place.root / "logs" / "stalling.log",
        environment=os.environ | environment,
    ) as server:
        server.wait_ready(answers, seconds=_READY_S)
        yield server, target


async def drive(
    server: Server,
    target: Target,
    bodies: Sequence[Body],
    *,
    rate: float,
    seconds: float,
    stalls: Sequence[float],
    deadline_ms: float,
    seed: int,
) -> list[Sample]:
    """Offer `rate` requests a second in open loop, and a stall at each instant of `stalls`."""

    async def strike() -> None:
        began = time.perf_counter()
        for instant in stalls:
            await asyncio.sleep(instant - (time.perf_counter() - began))
            server.signal(signal.SIGUSR1)

    striking = asyncio.create_task(strike())
    try:
        return await open_loop(
            target,
            bodies,
            schedule(rate, seconds, seed=seed),
            headers={"X-Request-Timeout-Ms": f"{deadline_ms:g}"},
        )
    finally:
        striking.cancel()


def main(
    load: Annotated[float, typer.Option(help="share of capacity that is offered")] = 0.5,
    candidates: int = 500,
    seconds: float = 30.0,
    every_s: Annotated[float, typer.Option(help="between the beginnings of two stalls")] = 3.0,
    stall_ms: float = 200.0,
    deadline_ms: float = 40.0,
    seed: int = 1,
    work: Annotated[Path, typer.Option(help="where models, store and logs live")] = ROOT
    / "build"
    / "bench",
    results: Annotated[Path, typer.Option(help="where the result file goes")] = RESULTS,
) -> None:
    """Run the drill, write its figures, and end with 1 when it is not passed."""
    around, place = look_around(), prepared(Place(work))
    bodies = make_bodies(Catalogue(), "ids", candidates, count=48, seed=seed)
    pace = Pace(rounds=1, seconds=min(seconds, 5.0), seed=seed)
    stalls = [at * every_s for at in range(1, int((seconds - 1) / every_s) + 1)]
    with stalling(place, bodies[0], stall_ms) as (server, target):
        warm_up(target, bodies, pace)
        capacity = in_closed_loop(server, target, bodies, pace, connections=CAPACITY_CONNECTIONS)
        rate = load * capacity["full_per_s"]
        began = time.process_time()
        samples = asyncio.run(
            drive(
                server,
                target,
                bodies,
                rate=rate,
                seconds=seconds,
                stalls=stalls,
                deadline_ms=deadline_ms,
                seed=seed,
            )
        )
        generator_cpu_s = time.process_time() - began
    verdict = judge(samples, stalls, stall_ms / 1000, deadline_ms / 1000)
    found: dict[str, Any] = vars(verdict) | {"passed": verdict.passed}
    typer.echo("\n".join(f"{name}: {value}" for name, value in found.items()))
    settings = {
        "load": load,
        "rate": round(rate, 1),
        "candidates": candidates,
        "every_s": every_s,
        "stall_ms": stall_ms,
        "deadline_ms": deadline_ms,
        "seconds": seconds,
    }
    run = (
        found
        | summarise(samples, seconds)
        | {
            "capacity_per_s": capacity["full_per_s"],
            "generator_cpu_s": round(generator_cpu_s, 3),
        }
    )
    result = new_result("stall", settings, [run], surroundings=around, peers={})
    path = result.write(results)
    typer.echo(f"{path}\n{write_report(path)}")
    raise typer.Exit(0 if verdict.passed else 1)


if __name__ == "__main__":
    typer.run(main)
