"""`python -m loadtest.request_profile`: CPU of one request, inside ONNX Runtime and outside.

The service runs in this process as `finerank serve` runs it, HTTP server included, with one
inference thread; the client is another process. One request at a time, so that CPU time can be told
apart without a sampling profiler. CPU, not wall time: others may use the machine meanwhile, and the
least of many batches is nearest to what the service itself needs.
"""

import asyncio
import cProfile
import io
import json
import pstats
import sys
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
import uvloop

from loadtest.in_process import serving
from loadtest.machine import describe_commit, describe_machine, describe_versions
from loadtest.traffic import FORMS
from service.commands.runtime import Runtime, build_runtime
from service.commands.serve import SWITCH_INTERVAL_S
from service.commands.time_slice import LOOP_SLICE_S, ask_for_slices
from service.scoring.session import Session
from service.settings import load_settings

_WARM_UP = 64
_BATCH = 20  # requests; process CPU is read between batches
_SHOWN = 30  # functions of the profile
_LINE_BYTES = 1 << 22


class _Runs:
    """CPU seconds spent inside `Session.run` since the last `taken`."""

    def __init__(self) -> None:
        self._seconds = 0.0
        run = Session.run

        def timed(session: Session, *given: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return run(session, *given, **named)
            finally:
                self._seconds += time.thread_time() - began

        Session.run = timed  # type: ignore[method-assign]

    def taken(self) -> float:
        seconds, self._seconds = self._seconds, 0.0
        return seconds


class Sender:
    """The process that sends."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, port: int, form: str, candidates: int) -> "Sender":
        words = ("-m", "loadtest.request_client", str(port), form, str(candidates))
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, *words, stdin=PIPE, stdout=PIPE, limit=_LINE_BYTES
            )
        )

    async def send(self, requests: int) -> list[str]:
        """The `Server-Timing` of that many requests."""
        assert self._process.stdin is not None, "started with a pipe"
        assert self._process.stdout is not None, "started with a pipe"
        self._process.stdin.write(b"%d\n" % requests)
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the client ended; what it printed says why")
        timings: list[str] = json.loads(line)
        return timings

    async def stop(self) -> None:
        assert self._process.stdin is not None, "started with a pipe"
        self._process.stdin.close()
        await self._process.wait()


async def measure(runtime: Runtime, form: str, candidates: int, requests: int) -> dict[str, Any]:
    """CPU of a request, inside ONNX Runtime's runs and outside, and its stages."""
    async with serving(runtime.app) as port:
        client = await Sender.start(port, form, candidates)
        try:
            return await _measured(client, requests)
        finally:
            await client.stop()


async def _measured(client: Sender, requests: int) -> dict[str, Any]:
    runs = _Runs()
    inside, outside, on_loop = [], [], []  # ms a request, one entry a batch
    stages: dict[str, list[float]] = {}
    await client.send(_WARM_UP)
    for _ in range(max(requests // _BATCH, 1)):
        runs.taken()
        began, loop_began = time.process_time(), time.thread_time()
        timings = await client.send(_BATCH)
        spent, run = time.process_time() - began, runs.taken()
        on_loop.append((time.thread_time() - loop_began) * 1000 / _BATCH)
        inside.append(run * 1000 / _BATCH)
        outside.append((spent - run) * 1000 / _BATCH)
        for stage, ms in (pair.split(";dur=") for line in timings for pair in line.split(", ")):
            stages.setdefault(stage, []).append(float(ms))
    profile = cProfile.Profile()
    profile.enable()
    await client.send(requests)
    profile.disable()
    text = io.StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(_SHOWN)
    return {
        "runs_ms": round(median(inside), 3),
        "outside_ms": round(median(outside), 3),
        "outside_least_ms": round(min(outside), 3),
        "outside_on_event_loop_ms": round(median(on_loop), 3),
        "stages_ms": {name: round(median(values), 3) for name, values in stages.items()},
        "event_loop": [line for line in text.getvalue().splitlines() if line.strip()],
    }


def main(
    models: Annotated[Path, typer.Option(help="what loadtest.bench_model wrote")],
    out: Annotated[Path, typer.Option(help="JSON file")],
    state_dir: Annotated[Path, typer.Option(help="of its embedded store")] = Path(".finerank"),
    form: Annotated[str, typer.Option(help=f"of the requests: {', '.join(FORMS)}")] = "ids",
    candidates: Annotated[int, typer.Option(help="candidates a request")] = 500,
    requests: Annotated[int, typer.Option(help="requests measured")] = 600,
    item_cache_mb: Annotated[int, typer.Option(help="0: without item cache")] = 512,
) -> None:
    """Measure and write."""
    if form not in FORMS:
        raise typer.BadParameter(f"{form!r} is none of {', '.join(FORMS)}")
    settings = load_settings(
        models=models,
        state_dir=state_dir,
        threads=1,
        token="unused",
        feature_timeout_ms=1000,
        item_cache_mb=item_cache_mb,
        item_cache_ttl_s=3600,
        warm_items="all" if item_cache_mb and form == "ids" else None,
    )
    machine = describe_machine()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    ask_for_slices(LOOP_SLICE_S)
    found = uvloop.run(measure(build_runtime(settings), form, candidates, requests))
    result = {
        "what": "CPU of one request, HTTP server included; one inference thread",
        "form": form,
        "candidates": candidates,
        "requests": requests,
        "item_cache_mb": item_cache_mb,
        **found,
        "machine": machine,
        "versions": describe_versions(),
        "source": describe_commit(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    typer.echo(json.dumps({k: v for k, v in found.items() if k != "event_loop"}, indent=1))


if __name__ == "__main__":
    typer.run(main)
