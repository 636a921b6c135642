"""`python -m loadtest.log_cost`: CPU that logging every request adds to it.

The same service logs nothing and everything in turns, so that both see the same machine; the client
is another process. CPU of the whole process, the writing thread included, not wall time; of the
turns, the median of each kind and the least. `writer_ms`: of the writing thread alone, by its own
CPU clock; the difference of the turns has the noise of the machine in it.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from loadtest.cost_file import added_percent, write_cost
from loadtest.in_process import serving
from loadtest.machine import describe_machine
from loadtest.request_profile import Sender
from service.commands.runtime import Runtime, build_runtime
from service.commands.serve import SWITCH_INTERVAL_S
from service.settings import load_settings
from service.traffic.sampling import Sample
from service.traffic.serving_log import ServingLog

_WARM_UP = 64
_FILES_S = 30.0


async def measure(
    runtime: Runtime, candidates: int, turns: int, requests: int
) -> tuple[dict[str, list[float]], float]:
    """CPU ms a request of each turn, by "off" and "on"; of the writing thread a logged request."""
    log = runtime.parts.remembering.log
    assert log is not None, "the settings want one"
    async with serving(runtime.app) as port:
        sender = await Sender.start(port, "ids", candidates)
        found: dict[str, list[float]] = {"off": [], "on": []}
        writing, logged = 0.0, 0
        for turn in range(2 * turns):
            kind = ("off", "on")[turn % 2]
            log._sample = Sample(float(kind == "on"))
            await sender.send(_WARM_UP)
            await _written(log)
            began, thread_began = time.process_time(), _cpu_of(log._thread)
            await sender.send(requests)
            await _written(log)
            found[kind].append((time.process_time() - began) * 1000 / requests)
            if kind == "on":
                writing += _cpu_of(log._thread) - thread_began
                logged += requests
        await asyncio.to_thread(log.finish_files, _FILES_S)
        await sender.stop()
    return found, writing * 1000 / logged


async def _written(log: ServingLog) -> None:
    """The queue is empty; files stay open, as they do between two rotations."""
    while log.waiting:  # noqa: ASYNC110 - the writing thread tells nobody
        await asyncio.sleep(0.05)


def _cpu_of(thread: Any) -> float:
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def main(
    models: Annotated[Path, typer.Option(help="what loadtest.bench_model wrote")],
    out: Annotated[Path, typer.Option(help="JSON file")],
    state_dir: Annotated[Path, typer.Option(help="of its embedded store")] = Path(".finerank"),
    candidates: Annotated[int, typer.Option(help="candidates a request")] = 500,
    turns: Annotated[int, typer.Option(help="of each kind")] = 7,
    requests: Annotated[int, typer.Option(help="requests a turn")] = 200,
    item_cache_mb: Annotated[int, typer.Option(help="0: every item is fetched")] = 512,
) -> None:
    """Measure and write."""
    machine = describe_machine()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
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
        found, writer_ms = uvloop.run(measure(runtime, candidates, turns, requests))
        counts = runtime.parts.metrics.log_requests
        written = counts.labels("written")._value.get()
        size = sum(file.stat().st_size for file in Path(directory).rglob("*.parquet"))
    logged = turns * (requests + _WARM_UP)
    if written != logged:
        raise RuntimeError(f"{written:g} of {logged} requests were written")
    off, on = (found[kind] for kind in ("off", "on"))
    result = {
        "what": "CPU ms of one request without and with the serving log of all requests",
        "candidates": candidates,
        "requests_a_turn": requests,
        "item_cache_mb": item_cache_mb,
        "off_ms": [round(ms, 3) for ms in off],
        "on_ms": [round(ms, 3) for ms in on],
        "writer_ms": round(writer_ms, 3),
        "writer_percent": round(writer_ms / min(off) * 100, 2),
        **added_percent(off, on),
        "bytes_a_request": round(size / logged),
    }
    write_cost(out, result, machine=machine)
    figures = {k: v for k, v in result.items() if k.endswith(("_ms", "_percent", "_request"))}
    typer.echo(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
