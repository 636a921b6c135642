"""`python -m loadtest.shadow_cost`: CPU that a shadow formula adds to a request.

The same service, with the shadow and without it in turns, so that both see the same machine; the
client is another process. CPU of the whole process, not wall time; of the turns, the median of each
kind and the least. `shadow_alone`: in scoring and comparing, by the worker's own CPU clock; the
difference of the turns has the noise of the machine in it.
"""

import copy
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import uvloop

from loadtest.bench_store import bench_plan
from loadtest.catalogue import SCENE
from loadtest.cost_file import added_percent, write_cost
from loadtest.in_process import serving
from loadtest.machine import describe_machine
from loadtest.request_profile import Sender
from service.api import shadowing
from service.commands.runtime import Runtime, build_runtime
from service.commands.serve import SWITCH_INTERVAL_S
from service.settings import load_settings

_TOKEN = "shadow-cost"
_WARM_UP = 64


def plan(shadow: bool) -> dict[str, Any]:
    """The bench plan and a draft of the same length with another number."""
    document = bench_plan(SCENE)
    draft = copy.deepcopy(document["formulas"]["base"])
    draft["score"] = f"({draft['score']}) ^ 1.1"
    document["formulas"]["draft"] = draft
    return document | ({"shadow": {"formula": "draft"}} if shadow else {})


class _Shadows:
    """CPU seconds spent in scoring and comparing shadows, on the worker that does it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.count = 0
        score = shadowing._on_the_same_heads

        def timed(seen: Any) -> Any:
            began = time.thread_time()
            try:
                return score(seen)
            finally:
                self.seconds += time.thread_time() - began
                self.count += 1

        shadowing._on_the_same_heads = timed


async def measure(
    runtime: Runtime, candidates: int, turns: int, requests: int
) -> dict[str, list[float]]:
    """CPU ms a request of each turn, by "off" and "on"."""
    async with serving(runtime.app) as port:
        sender = await Sender.start(port, "ids", candidates)
        found: dict[str, list[float]] = {"off": [], "on": []}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False
        ) as client:
            for turn in range(2 * turns):
                kind = ("off", "on")[turn % 2]
                await _publish(client, plan(kind == "on"))
                await sender.send(_WARM_UP)
                began = time.process_time()
                await sender.send(requests)
                found[kind].append((time.process_time() - began) * 1000 / requests)
            report = (await client.get(f"/v1/plans/{SCENE}/shadow")).json()
        await sender.stop()
    compared = report["requests"].get("compared", 0)
    if compared < 0.9 * requests:
        raise RuntimeError(f"only {compared} of {requests} requests were compared: {report}")
    return found


async def _publish(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {_TOKEN}", "If-Match": "*"}
    answer = await client.put(f"/v1/plans/{SCENE}", json=document, headers=headers)
    answer.raise_for_status()


def main(
    models: Annotated[Path, typer.Option(help="what loadtest.bench_model wrote")],
    out: Annotated[Path, typer.Option(help="JSON file")],
    state_dir: Annotated[Path, typer.Option(help="of its embedded store")] = Path(".finerank"),
    candidates: Annotated[int, typer.Option(help="candidates a request")] = 500,
    turns: Annotated[int, typer.Option(help="of each kind")] = 7,
    requests: Annotated[int, typer.Option(help="requests a turn")] = 200,
) -> None:
    """Measure and write."""
    settings = load_settings(
        models=models,
        state_dir=state_dir,
        threads=1,
        token=_TOKEN,
        feature_timeout_ms=1000,
        item_cache_mb=512,
        item_cache_ttl_s=3600,
        warm_items="all",
    )
    machine = describe_machine()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    shadows = _Shadows()
    found = uvloop.run(measure(build_runtime(settings), candidates, turns, requests))
    off, on = (found[kind] for kind in ("off", "on"))
    alone = shadows.seconds * 1000 / shadows.count
    result = {
        "what": "CPU ms of one request without and with a formula in shadow of all requests",
        "candidates": candidates,
        "requests_a_turn": requests,
        "off_ms": [round(ms, 3) for ms in off],
        "on_ms": [round(ms, 3) for ms in on],
        "shadow_alone_ms": round(alone, 3),
        "shadow_alone_percent": round(alone / min(off) * 100, 2),
        **added_percent(off, on),
    }
    write_cost(out, result, machine=machine)
    figures = {key: value for key, value in result.items() if key.endswith(("_ms", "_percent"))}
    typer.echo(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
