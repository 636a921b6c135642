"""`python -m loadtest.preview_cost`: how long a preview of many logged requests takes.

Random requests are logged in a temporary directory; then drafts are previewed on all of them, from
the files, and on the last 200 from memory. Wall and CPU time of one process.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from loadtest.cost_file import write_cost
from loadtest.machine import describe_machine
from service.fusion import Formula, compile_formula
from service.traffic.batch import ItemNames, stack
from service.traffic.log_files import find_files, read_batches
from service.traffic.preview import Preview
from service.traffic.record import Entry, Ranked, Used
from service.traffic.shelves import Rotation, Shelves

HEADS = ("ctr", "vtr", "vcr", "like", "cvr", "ctcvr")
SERVED = "ctr^0.3 * (1 + vcr)^1.2 * ctcvr^0.5 / (1 + log1p(videolen_s / 30))"
DRAFTS = (
    "ctr^0.5 * (1 + vcr)^1.2 * ctcvr^0.5 / (1 + log1p(videolen_s / 30))",
    "rank(ctr) + zscore(vcr) * context.hour",
)
_FEW = 200


class _Draft:
    """Everybody gets one formula."""

    formula_name = "draft"
    rerank = None

    def __init__(self, text: str) -> None:
        self.formula = _formula(text)

    def scalars(self, user: Any, context: Any) -> dict[str, float]:
        return {name: float(context[name.partition(".")[2]]) for name in self.formula.scalars}


def _formula(text: str) -> Formula:
    return compile_formula(text, heads=HEADS, attributes=["videolen_s"], scalars=["context.hour"])


def _ranked(random: np.random.Generator, number: int, candidates: int) -> Ranked:
    heads = {head: random.random(candidates, dtype=np.float32) for head in HEADS}
    attributes = {"videolen_s": random.uniform(3, 300, candidates)}
    scores = _SERVED({**heads, **attributes}, rows=candidates).values
    user, context = dict[str, Any](), {"hour": number % 24}
    return Ranked(
        request_id=f"r{number}",
        scene="feed",
        at_s=1e9 + number,
        took_ms=5.0,
        user_id=f"u{number % 5_000}",
        user=user,
        context=context,
        asked={},
        all_user=user,
        all_context=context,
        plan=1,
        model="bench/1",
        formula="base",
        params={},
        signs={},
        assignments={},
        exp_id="",
        degraded={},
        limit=None,
        ids=[str(n) for n in random.choice(200_000, candidates, replace=False)],
        order=np.argsort(-scores, kind="stable"),
        scores=scores,
        heads=heads,
        attributes=attributes,
    )


_SERVED = _formula(SERVED)


def _timed(work: Callable[[], dict[str, Any]]) -> dict[str, float]:
    began, cpu_began = time.perf_counter(), time.process_time()
    report = work()
    return {
        "requests": report["requests"],
        "wall_s": round(time.perf_counter() - began, 3),
        "cpu_s": round(time.process_time() - cpu_began, 3),
    }


def main(
    out: Annotated[Path, typer.Option(help="JSON file")],
    requests: Annotated[int, typer.Option(help="logged")] = 10_000,
    candidates: Annotated[int, typer.Option(help="of each")] = 300,
) -> None:
    """Measure and write."""
    machine = describe_machine()
    random = np.random.default_rng(0)
    last: list[Ranked] = []
    found = []
    with tempfile.TemporaryDirectory() as directory:
        shelves = Shelves(Path(directory), Rotation(64_000_000, 300.0, "bench"))
        versions = np.zeros(candidates, np.int64)
        for number in range(requests):
            ranked = _ranked(random, number, candidates)
            shelves.add(Entry(ranked, Used({}, None, [], versions, {})))
            shelves.tidy()
            last = [*last[-_FEW + 1 :], ranked]
        shelves.finish()
        for text in DRAFTS:
            draft = _Draft(text)

            def of_log(draft: _Draft = draft) -> dict[str, Any]:
                names = ItemNames()
                preview = Preview(lambda asked: draft, names)
                for batch in read_batches(find_files(Path(directory), "feed"), requests, names):
                    preview.add(batch)
                return preview.report()

            def of_memory(draft: _Draft = draft) -> dict[str, Any]:
                names = ItemNames()
                preview = Preview(lambda asked: draft, names)
                for batch in stack(last, names):
                    preview.add(batch)
                return preview.report()

            found.append({"draft": text, "log": _timed(of_log), "memory": _timed(of_memory)})
    result = {
        "what": f"preview of logged requests of {candidates} candidates, {len(HEADS)} heads",
        "previews": found,
    }
    write_cost(out, result, machine=machine)
    typer.echo(json.dumps(found))


if __name__ == "__main__":
    typer.run(main)
