"""`python -m loadtest.rerank_cost`: CPU of one re-rank, for usual rules and for the worst lists.

CPU of one thread, in batches; the least of them is nearest to what the rules need by themselves.
"""

import json
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from loadtest.cost_file import write_cost
from service.experiment.reranking import Rerank
from service.rerank.rerank import rerank
from service.rerank.rules import Given

_BATCH = 20
_DECAY = {"by": "author", "factor": 0.8, "floor": 0.3}
_CAPS = [{"by": "author", "most": 1, "window": 8}, {"by": "category", "most": 3, "window": 10}]
_FRESH = {"by": "age_h", "below": 24, "least": 3, "first": 20}
_PINS = {"7": 3, "400": 10}
_EMBEDDING = [f"e{n}" for n in range(16)]

RULES: dict[str, dict[str, Any]] = {
    "caps": {"caps": _CAPS},
    "decay, caps, new items, pins": {
        "decay": [_DECAY],
        "caps": _CAPS,
        "fresh": _FRESH,
        "pins": _PINS,
    },
    "MMR by category": {"mmr": {"by": "category", "weight": 0.3, "first": 50}},
    "MMR by 16 attributes, 50 places": {"mmr": {"by": _EMBEDDING, "weight": 0.3, "first": 50}},
    "all of them": {
        "decay": [_DECAY],
        "mmr": {"by": _EMBEDDING, "weight": 0.3, "first": 30},
        "caps": _CAPS,
        "fresh": _FRESH,
        "pins": _PINS,
    },
}
AUTHORS = {"as drawn": 120, "20 authors": 20, "one author": 1}


def candidates(rows: int, authors: int, seed: int = 0) -> Given:
    """A list whose best items are of few authors, as scores of one user are."""
    rng = np.random.default_rng(seed)
    author = 1 + rng.zipf(1.3, rows) % authors
    scores = rng.random(rows) + 0.3 / author
    attributes = {name: rng.normal(size=rows) for name in _EMBEDDING}
    return Given(
        ids=[str(n) for n in range(rows)],
        order=np.argsort(-scores, kind="stable"),
        valid=rows,
        scores=scores,
        categories={"author": author, "category": 1 + rng.integers(0, 8, rows)},
        attributes={**attributes, "age_h": rng.uniform(0, 200, rows)},
    )


def measured_us(rules: Rerank, given: Given, batches: int) -> dict[str, float]:
    """CPU microseconds of one call."""
    found = []
    for _ in range(batches):
        began = time.thread_time_ns()
        for _ in range(_BATCH):
            rerank(rules, given)
        found.append((time.thread_time_ns() - began) / 1000 / _BATCH)
    return {"least_us": round(min(found), 1), "median_us": round(median(found), 1)}


def main(
    out: Annotated[Path, typer.Option(help="JSON file")],
    rows: Annotated[int, typer.Option(help="candidates")] = 500,
    batches: Annotated[int, typer.Option(help=f"of {_BATCH} calls, for each case")] = 50,
) -> None:
    """Measure and write."""
    found = {
        f"{name}; {kind}": measured_us(
            Rerank.model_validate_json(json.dumps(rules)), candidates(rows, authors), batches
        )
        for name, rules in RULES.items()
        for kind, authors in AUTHORS.items()
    }
    result = {
        "what": "CPU of one re-rank after fusion",
        "candidates": rows,
        "cases": found,
    }
    write_cost(out, result)
    typer.echo(json.dumps(found, indent=1))


if __name__ == "__main__":
    typer.run(main)
