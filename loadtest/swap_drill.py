"""`python -m loadtest.swap_drill`: swap the model under load, beside quiet rounds of the same load.

Each swap loads a version that is not in memory: three versions take turns. A second client compares
every reply with what the version it names has answered before: no reply may mix two.

Before each round the same load runs on, unmeasured, until nothing of the last swap is left to do: a
replaced version stays for ten seconds, then its memory is given back.
"""

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from loadtest.bench_model import write_package
from loadtest.bench_store import bench_plan, load_catalogue, publish_plan, store_url
from loadtest.catalogue import SCENE, Catalogue
from loadtest.closed_loop import closed_loop
from loadtest.contenders import CONTENDERS, Place, ask, serving
from loadtest.http_client import Target
from loadtest.machine import ROOT
from loadtest.open_loop import open_loop, schedule
from loadtest.processes import Server
from loadtest.report import write_report
from loadtest.result_files import RESULTS, look_around, new_result
from loadtest.samples import Sample
from loadtest.shape import Shape
from loadtest.swap_summary import failures, memory_slope, ratio_of, windows
from loadtest.traffic import Body, make_bodies
from service.contract.repository import Repository

VERSIONS = 3
_TOKEN = "swap-drill"
_HEADERS = {"X-Request-Timeout-Ms": "1000"}
_PROMOTE_S = 300.0
_CHECK_S = 0.25
_SETTLE_S = 15.0


@dataclass
class Swaps:
    """Promotions so far: how long each took (s), the memory before it, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def prepare(place: Place) -> None:
    """Three versions of the bench model, its catalogue and its plan, unless they are there."""
    catalogue = Catalogue()
    for seed in range(len(Repository(place.models).versions(SCENE)), VERSIONS):
        write_package(place.models, catalogue=catalogue, shape=Shape(), seed=seed + 1)
    with store_url("embedded", place.state) as url:
        load_catalogue(url, catalogue)
        publish_plan(url, bench_plan(SCENE))


def swap_every(
    seconds: float, count: int, server: Server, port: int, order: Iterator[int], swaps: Swaps
) -> None:
    """Promote the next version at fixed instants; blocks."""
    url = f"http://127.0.0.1:{port}/v1/models/{SCENE}/promote"
    with httpx.Client(timeout=_PROMOTE_S, headers={"Authorization": f"Bearer {_TOKEN}"}) as client:
        start = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, start + number * seconds - time.monotonic()))
            # The process that proves a version comes and goes; what may grow is the server.
            swaps.rss_mib.append(server.usage(children=False).rss_mib)
            began = time.monotonic()
            answer = client.post(url, json={"version": next(order)})
            swaps.seconds.append(time.monotonic() - began)
            if answer.status_code != httpx.codes.OK:
                swaps.wrong.append(answer.text)


@contextmanager
def comparing(target: Target, body: Body, known: Mapping[str, Any]) -> Iterator[list[str]]:
    """Ask again and again meanwhile; gives what does not fit the version that a reply names."""
    wrong: list[str] = []
    stop = threading.Event()

    def compare() -> None:
        while not stop.wait(_CHECK_S):
            try:
                answer = ask(target, body)
            except httpx.HTTPError as err:
                wrong.append(str(err))
                continue
            if answer["heads"] != known.get(answer["model"]):
                wrong.append(f"a reply of {answer['model']} has other heads than before")

    thread = threading.Thread(target=compare)
    thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        thread.join()


def learn(target: Target, body: Body, port: int) -> dict[str, Any]:
    """What each version answers to one request; afterwards version 1 serves."""
    known = {}
    headers = {"Authorization": f"Bearer {_TOKEN}"}
    for version in (*range(2, VERSIONS + 1), 1):
        url = f"http://127.0.0.1:{port}/v1/models/{SCENE}/promote"
        httpx.post(
            url, json={"version": version}, headers=headers, timeout=_PROMOTE_S
        ).raise_for_status()
        answer = ask(target, body)
        known[answer["model"]] = answer["heads"]
    return known


def load(
    target: Target, bodies: list[Body], rate: float, seconds: float, seed: int
) -> list[Sample]:
    """Open-loop load."""
    due = schedule(rate, seconds, seed=seed)
    return asyncio.run(open_loop(target, bodies, due, headers=_HEADERS))


def capacity(target: Target, bodies: list[Body], seconds: float) -> float:
    """Full answers a second at 4 connections."""
    asyncio.run(closed_loop(target, bodies, connections=4, seconds=seconds, headers=_HEADERS))
    found = asyncio.run(
        closed_loop(target, bodies, connections=4, seconds=seconds, headers=_HEADERS)
    )
    return sum(s.is_full for s in found) / seconds


def main(
    swaps: Annotated[int, typer.Option(help="in all")] = 50,
    rounds: Annotated[int, typer.Option(help="pairs of a quiet and a swapping one")] = 5,
    every: Annotated[float, typer.Option(help="seconds between two swaps")] = 30.0,
    share: Annotated[float, typer.Option(help="of capacity that is offered")] = 0.45,
    candidates: int = 500,
    work: Annotated[Path, typer.Option(help="models, store and logs")] = ROOT / "build" / "swap",
    results: Annotated[Path, typer.Option(help="where the result goes")] = RESULTS,
) -> None:
    """Measure, print and write the result; status 1 when a request failed or a swap was refused."""
    surroundings, place = look_around(), Place(work)
    prepare(place)
    bodies = make_bodies(Catalogue(), "ids", candidates, count=200, seed=7)
    done, order = Swaps(), itertools.cycle((*range(2, VERSIONS + 1), 1))
    quiet: list[Sample] = []
    swapping: list[Sample] = []
    parts: dict[str, list[Any]] = {"quiet": [], "swapping": []}
    runs: list[dict[str, Any]] = []
    each = swaps // rounds
    os.environ["FINERANK_TOKEN"] = _TOKEN  # the server inherits these
    os.environ["FINERANK_FEATURE_TIMEOUT_MS"] = "500"  # a busy generator is no outage
    with serving(CONTENDERS["finerank"], place, bodies[0]) as (server, target):
        known = learn(target, bodies[0], server.port)
        rate = share * capacity(target, bodies, 5.0)
        typer.echo(f"{rate:.1f} requests/s, {share:.0%} of capacity")
        with comparing(target, bodies[0], known) as mixed:
            for number in range(rounds):
                for kind in ("quiet", "swapping")[:: 1 if number % 2 == 0 else -1]:
                    thread = threading.Thread(
                        target=swap_every,
                        args=(every, each, server, server.port, order, done),
                    )
                    load(target, bodies, rate, _SETTLE_S, seed=rounds + number)
                    if kind == "swapping":
                        thread.start()
                    found = load(target, bodies, rate, each * every, seed=number)
                    if kind == "swapping":
                        thread.join()
                    (quiet if kind == "quiet" else swapping).extend(found)
                    parts[kind] += windows(found, every)
                    runs.append({"round": number, "kind": kind, "failures": failures(found)})
                    typer.echo(f"round {number} {kind}: {len(found)} requests, {failures(found)}")
    median, tail = (ratio_of(p, parts["quiet"], parts["swapping"]) for p in (50, 99))
    memory = memory_slope(done.rss_mib)
    summary = {
        "rate": round(rate, 2),
        "requests": {"quiet": len(quiet), "swapping": len(swapping)},
        "failures": {"quiet": failures(quiet), "swapping": failures(swapping)},
        "refused_swaps": done.wrong,
        "mixed_replies": mixed,
        "p50": median,
        "p99": tail,
        "memory": memory,
        "swap_s": [round(s, 2) for s in done.seconds],
        "rss_mib": [round(mib, 1) for mib in done.rss_mib],
    }
    settings = {"swaps": len(done.seconds), "rounds": rounds, "every_s": every, "share": share}
    result = new_result("swap", settings, [summary, *runs], surroundings=surroundings, peers={})
    path = result.write(results)
    typer.echo(f"p50 {median}\np99 {tail}\nmemory {memory}\n{path}\n{write_report(path)}")
    if summary["failures"]["swapping"] or done.wrong or mixed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
