"""`python -m loadtest.request_profile`: CPU of one request, inside ONNX Runtime and outside.

The service runs in this process with one inference thread, and requests go straight into the
application: what is left out is the HTTP server, what is measured is everything behind it. One
request at a time, so that CPU time can be told apart without a sampling profiler.
"""

import asyncio
import cProfile
import io
import json
import pstats
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from loadtest.catalogue import SCENE, Catalogue
from loadtest.machine import describe_commit, describe_machine, describe_versions
from service.commands.runtime import Runtime, build_runtime
from service.scoring.session import Session
from service.settings import load_settings

_WARM_UP = 30
_BODIES = 64
_SHOWN = 25  # functions of the profile


class _Runs:
    """CPU seconds spent inside `Session.run` since the last `taken`."""

    def __init__(self) -> None:
        self._seconds = 0.0
        run = Session.run

        def timed(session: Session, *given: Any) -> Any:
            began = time.thread_time()
            try:
                return run(session, *given)
            finally:
                self._seconds += time.thread_time() - began

        Session.run = timed  # type: ignore[method-assign]

    def taken(self) -> float:
        seconds, self._seconds = self._seconds, 0.0
        return seconds


def draw_bodies(candidates: int) -> list[bytes]:
    """Requests by ids only, of known users and items."""
    draw, catalogue = np.random.default_rng(0), Catalogue(seed=1)
    documents = (
        {
            "scene": SCENE,
            "user": {"id": f"user_{draw.integers(catalogue.users)}"},
            "candidates": {
                "ids": [f"item_{n}" for n in draw.permutation(catalogue.items)[:candidates]]
            },
        }
        for _ in range(_BODIES)
    )
    return [json.dumps(document).encode() for document in documents]


async def post(runtime: Runtime, body: bytes) -> Mapping[str, float]:
    """Rank once, without a server; the stages of the reply in ms."""
    sent: list[Any] = []
    headers = {"content-type": "application/json", "x-request-timeout-ms": "5000"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/rank",
        "raw_path": b"/v1/rank",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await runtime.app(scope, receive, send)
    if sent[0]["status"] != 200 or b'"degraded":[]' not in sent[1]["body"][:1000]:
        raise RuntimeError(f"not a full answer: {sent[1]['body'][:300]!r}")
    stages = dict(sent[0]["headers"])[b"server-timing"].decode()
    pairs = (stage.split(";dur=") for stage in stages.split(", "))
    return {name: float(ms) for name, ms in pairs}


async def measure(runtime: Runtime, bodies: list[bytes], requests: int) -> dict[str, Any]:
    """Median CPU of a request, inside ONNX Runtime's runs and outside, and its stages."""
    runs, inside, outside = _Runs(), [], []
    stages: dict[str, list[float]] = {}
    async with runtime.app.router.lifespan_context(runtime.app):
        for n in range(_WARM_UP):
            await post(runtime, bodies[n % _BODIES])
        for n in range(requests):
            runs.taken()
            began = time.process_time()
            found = await post(runtime, bodies[n % _BODIES])
            spent, run = time.process_time() - began, runs.taken()
            inside.append(run * 1000)
            outside.append((spent - run) * 1000)
            for name, ms in found.items():
                stages.setdefault(name, []).append(ms)
        profile = cProfile.Profile()
        profile.enable()
        for n in range(requests):
            await post(runtime, bodies[n % _BODIES])
        profile.disable()
    text = io.StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(_SHOWN)
    return {
        "runs_ms": round(median(inside), 3),
        "outside_ms": round(median(outside), 3),
        "outside_p10_ms": round(sorted(outside)[len(outside) // 10], 3),
        "stages_ms": {name: round(median(values), 3) for name, values in stages.items()},
        "event_loop": [line for line in text.getvalue().splitlines() if line.strip()],
    }


def main(
    models: Annotated[Path, typer.Option(help="what loadtest.bench_model wrote")],
    out: Annotated[Path, typer.Option(help="JSON file")],
    state_dir: Annotated[Path, typer.Option(help="of its embedded store")] = Path(".finerank"),
    candidates: Annotated[int, typer.Option(help="candidates a request")] = 500,
    requests: Annotated[int, typer.Option(help="requests measured")] = 300,
    item_cache_mb: Annotated[int, typer.Option(help="0: without item cache")] = 512,
) -> None:
    """Measure and write."""
    settings = load_settings(
        models=models,
        state_dir=state_dir,
        threads=1,
        token="unused",
        feature_timeout_ms=1000,
        item_cache_mb=item_cache_mb,
        item_cache_ttl_s=3600,
        warm_items="all" if item_cache_mb else None,
    )
    machine = describe_machine()
    found = asyncio.run(measure(build_runtime(settings), draw_bodies(candidates), requests))
    result = {
        "what": "CPU of one request, ids only, column reply; one inference thread, no HTTP server",
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
