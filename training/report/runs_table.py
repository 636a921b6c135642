"""A file of runs -> Markdown tables.

A runs file is what `finerank train --record` appends to, one JSON object a run.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.report.page import markdown_table
from training.scores import metrics_grid, own_spaces

Run = Mapping[str, Any]


def report(runs: Sequence[Run], *, title: str, command: str) -> str:
    """Ranking quality, the same inside slices, calibration, and what each run was.

    A head is shown on its own sample space, which is the one it is measured on first.
    """
    lines = [
        f"# {title}",
        "",
        f"Written by `{command}` from what `finerank train … --record` appended.",
    ]
    for heading, metrics, sliced in (
        ("AUC, or MSE of a regression", ("auc", "mse"), False),
        ("The same inside slices", ("auc", "mse"), True),
        ("AUC inside users (GAUC)", ("gauc",), False),
        ("Predicted over observed", ("ratio",), False),
    ):
        lines += ["", f"## {heading}", "", *_table(runs, metrics, sliced=sliced)]
    described: dict[str, Callable[[Run], str]] = {
        "trunk": lambda r: r["trunk"],
        "seed": lambda r: str(r["seed"]),
        "epochs": lambda r: str(r["epochs"]),
        "rows": lambda r: f"{r['rows']:,}",
        "parameters": lambda r: f"{r['parameters']:,}",
        "train s": lambda r: f"{r['train_s']:.0f}",
        "total s": lambda r: f"{r['total_s']:.0f}",
        "threads": lambda r: str(r["threads"]),
        "machine": lambda r: f"{r['machine']}, Python {r['python']}, PyTorch {r['torch']}",
        "commit": lambda r: r["commit"][:12],
    }
    rows = [[_name(run), *(show(run) for show in described.values())] for run in runs]
    lines += ["", "## Runs", "", *markdown_table(["model", *described], rows)]
    return "\n".join(lines) + "\n"


def _table(runs: Sequence[Run], metrics: Sequence[str], *, sliced: bool) -> list[str]:
    found = [_of_own_space(run, metrics, sliced=sliced) for run in runs]
    names = list(dict.fromkeys(name for values in found for name in values))
    rows = [
        [_name(run), *(f"{values[n]:.4f}" if n in values else "" for n in names)]
        for run, values in zip(runs, found, strict=True)
    ]
    return markdown_table(
        ["model", *(f"{head} {metric} [{space}]" for head, metric, space in names)], rows
    )


def _of_own_space(
    run: Run, metrics: Sequence[str], *, sliced: bool
) -> dict[tuple[str, str, str], float]:
    _, rows = metrics_grid(run["metrics"])
    own = own_spaces(run["metrics"])
    return {
        (head, metric, space): values[metric]
        for (head, space), values in rows.items()
        for metric in metrics
        if metric in values
        and (space.startswith(f"{own[head]}, ") if sliced else space == own[head])
    }


def _name(run: Run) -> str:
    return f"{run['model']}/{run['version']}"


def main(source: Path, target: Path) -> None:
    runs = [json.loads(line) for line in source.read_text().splitlines() if line]
    command = f"python -m training.report {source} {target}"
    target.write_text(report(runs, title=f"Runs on {source.stem}", command=command))
