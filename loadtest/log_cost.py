"""`python -m loadtest.log_cost`: CPU that logging every request adds to it.

The same service logs nothing and everything in short turns; the client is another process. A turn
has as many requests as one group of the log, so that each turn that logs writes one. CPU of the
whole process, all its threads, not wall time. Two turns after each other are a pair, in alternating
order, so that both see the same machine; what logging adds is the median of their ratios, with a
95 % interval by the bootstrap. `writer`: of the writing thread alone, by its own CPU clock; `rest`:
all other threads, the event loop among them. `writer_off_ms` is next to nothing where no group was
left for a turn that logs nothing: else turns took longer than `GROUP_S`, and the machine was busy.
"""

import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import uvloop

from loadtest.cost_file import write_cost
from loadtest.in_process import serving
from loadtest.machine import describe_machine
from loadtest.request_profile import Sender
from service.commands.runtime import Runtime, build_runtime
from service.commands.serve import SWITCH_INTERVAL_S
from service.settings import load_settings
from service.traffic.sampling import Sample
from service.traffic.serving_log import ServingLog
from service.traffic.shelves import GROUP_CANDIDATES

OFF, ON = "off", "on"

_WARM_UP = 256
_FILES_S = 30.0
_SETTLED_S = 0.6  # the writing thread has looked twice: a group that is full is written
_DRAWS = 10_000


@dataclass(frozen=True)
class Turn:
    """CPU ms a request: of the process, and of the writing thread."""

    process_ms: float
    writer_ms: float

    @property
    def rest_ms(self) -> float:
        return self.process_ms - self.writer_ms


async def measure(
    runtime: Runtime, candidates: int, pairs: int, requests: int
) -> dict[str, list[Turn]]:
    """The turns of each kind; those of one pair have the same index."""
    log = runtime.parts.remembering.log
    assert log is not None, "the settings want one"
    found: dict[str, list[Turn]] = {OFF: [], ON: []}
    async with serving(runtime.app) as port:
        sender = await Sender.start(port, "ids", candidates)
        log._sample = Sample(1.0)
        await sender.send(_WARM_UP)
        # the items that the cache was warmed with are no cost of the requests
        await asyncio.to_thread(log.finish_files, _FILES_S)
        for pair in range(pairs):
            for kind in (OFF, ON) if pair % 2 else (ON, OFF):
                log._sample = Sample(float(kind == ON))
                found[kind].append(await _turn(sender, log, requests))
        await asyncio.to_thread(log.finish_files, _FILES_S)
        await sender.stop()
    return found


async def _turn(sender: Sender, log: ServingLog, requests: int) -> Turn:
    began, writer_began = time.process_time(), _cpu_of(log._thread)
    await sender.send(requests)
    while log.waiting:  # noqa: ASYNC110 - the writing thread tells nobody
        await asyncio.sleep(0.05)
    await asyncio.sleep(_SETTLED_S)
    spent, writer = time.process_time() - began, _cpu_of(log._thread) - writer_began
    return Turn(spent * 1000 / requests, writer * 1000 / requests)


def _cpu_of(thread: Any) -> float:
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def added_percent(off: Sequence[float], on: Sequence[float]) -> dict[str, float]:
    """Median of the ratios of pairs, as percent beyond 1, and its 95 % interval."""
    ratios = np.divide(on, off)
    drawn = np.random.default_rng(0).choice(ratios, (_DRAWS, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    values = {"median": np.median(ratios), "low": low, "high": high}
    return {name: round((float(value) - 1) * 100, 2) for name, value in values.items()}


def summary(found: Mapping[str, Sequence[Turn]]) -> dict[str, Any]:
    """What logging adds, altogether and by thread; CPU ms a request, of the writer the mean."""
    off, on = found[OFF], found[ON]
    process_ms = [turn.process_ms for turn in off]
    writer_ms = [turn.writer_ms for turn in on]
    with_writer = [ms + writer for ms, writer in zip(process_ms, writer_ms, strict=True)]
    return {
        "off_ms": round(float(np.median(process_ms)), 3),
        "on_ms": round(float(np.median([turn.process_ms for turn in on])), 3),
        "writer_ms": round(float(np.mean(writer_ms)), 3),
        "writer_off_ms": round(float(np.mean([turn.writer_ms for turn in off])), 3),
        "added_percent": added_percent(process_ms, [turn.process_ms for turn in on]),
        "writer_percent": added_percent(process_ms, with_writer),
        "rest_percent": added_percent([t.rest_ms for t in off], [t.rest_ms for t in on]),
    }


def main(
    models: Annotated[Path, typer.Option(help="what loadtest.bench_model wrote")],
    out: Annotated[Path, typer.Option(help="JSON file")],
    state_dir: Annotated[Path, typer.Option(help="of its embedded store")] = Path(".finerank"),
    candidates: Annotated[int, typer.Option(help="candidates a request")] = 500,
    pairs: Annotated[int, typer.Option(help="of turns, one of each kind")] = 30,
    item_cache_mb: Annotated[int, typer.Option(help="0: every item is fetched")] = 512,
) -> None:
    """Measure and write."""
    machine = describe_machine()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    requests = math.ceil(GROUP_CANDIDATES / candidates)
    with tempfile.TemporaryDirectory() as directory:
        settings = load_settings(
            models=models,
            state_dir=state_dir,
            threads=1,
            feature_timeout_ms=1000,
            item_cache_mb=item_cache_mb,
            item_cache_ttl_s=3600,
            warm_items="all",
            log_dir=Path(directory),
        )
        runtime = build_runtime(settings)
        found = uvloop.run(measure(runtime, candidates, pairs, requests))
        counts = runtime.parts.metrics.log_requests
        written = counts.labels("written")._value.get()
        size = sum(file.stat().st_size for file in Path(directory).rglob("requests-*.parquet"))
    logged = pairs * requests + _WARM_UP
    if written != logged:
        raise RuntimeError(f"{written:g} of {logged} requests were written")
    figures = {**summary(found), "bytes_a_request": round(size / logged)}
    result = {
        "what": "CPU ms of one request without and with the serving log of all requests",
        "candidates": candidates,
        "requests_a_turn": requests,
        "item_cache_mb": item_cache_mb,
        **figures,
        "turns_ms": {
            kind: [[round(turn.process_ms, 3), round(turn.writer_ms, 3)] for turn in turns]
            for kind, turns in found.items()
        },
    }
    write_cost(out, result, machine=machine)
    typer.echo(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
