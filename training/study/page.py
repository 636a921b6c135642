"""A study's lines as a Markdown page: means over seeds, differences paired by seed, costs."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training.study.plan import Entry, Study

Line = Mapping[str, Any]


def page(study: Study, lines: Iterable[Line], *, commands: Sequence[str]) -> str:
    """The page of a study; of a run and seed that is there twice, the later line counts."""
    by_run: dict[str, dict[int, Line]] = defaultdict(dict)
    for line in lines:
        by_run[line["run"]][line["seed"]] = line
    done = [entry for entry in study.runs if entry.name in by_run]
    missing = [entry.name for entry in study.runs if entry.name not in by_run]
    text = [f"# {study.title}", "", *_paragraphs(study.about)]
    text += ["", "```", *commands, "```"]
    if missing:
        text += ["", f"Not run yet: {', '.join(missing)}."]
    text += ["", "## Mean ± standard deviation over seeds", ""]
    text += _markdown(
        ["run", *study.metrics, "seeds"],
        [_means(study, entry, list(by_run[entry.name].values())) for entry in done],
    )
    if study.reference in by_run and len(done) > 1:
        base = by_run[study.reference]
        text += ["", f"## Difference to {study.reference}, mean ± its standard error", ""]
        text += ["Paired by seed; **bold** where it is more than two standard errors from 0.", ""]
        text += _markdown(
            ["run", *study.metrics, "pairs"],
            [
                _differences(study, entry, by_run[entry.name], base)
                for entry in done
                if entry.name != study.reference
            ],
        )
    text += ["", "## What each run was", ""]
    text += _markdown(
        ["run", "group", "trunk", "parameters", "epochs", "CPU s", "set"],
        [_cost(entry, list(by_run[entry.name].values())) for entry in done],
    )
    text += ["", *_made_on([line for of_run in by_run.values() for line in of_run.values()])]
    for section in study.sections:
        text += ["", f"## {section.heading}", "", *_paragraphs(section.text)]
    return "\n".join(text) + "\n"


def paired(values: Mapping[int, float], base: Mapping[int, float]) -> tuple[float, float, int]:
    """Mean difference over the seeds that both have, its standard error (NaN for one), and how
    many.
    """
    found = [values[seed] - base[seed] for seed in sorted(values.keys() & base.keys())]
    if not found:
        return math.nan, math.nan, 0
    error = statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.nan
    return statistics.fmean(found), error, len(found)


def _means(study: Study, entry: Entry, lines: Sequence[Line]) -> list[str]:
    cells = []
    for metric in study.metrics:
        values = [line["metrics"][metric] for line in lines if metric in line["metrics"]]
        deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{statistics.fmean(values):.4f}{deviation}" if values else "")
    return [entry.name, *cells, str(len(lines))]


def _differences(
    study: Study, entry: Entry, lines: Mapping[int, Line], base: Mapping[int, Line]
) -> list[str]:
    cells, pairs = [], 0
    for metric in study.metrics:
        ours, theirs = (
            {s: line["metrics"][metric] for s, line in of.items() if metric in line["metrics"]}
            for of in (lines, base)
        )
        mean, error, pairs = paired(ours, theirs)
        if not pairs:
            cells.append("")
            continue
        shown = f"{mean:+.4f}" + (f" ± {error:.4f}" if pairs > 1 else "")
        cells.append(f"**{shown}**" if abs(mean) > 2 * error else shown)
    return [entry.name, *cells, str(pairs)]


def _cost(entry: Entry, lines: Sequence[Line]) -> list[str]:
    epochs = sorted({line["epochs"] for line in lines})
    said = [f"`{setting}`" for setting in entry.set]
    said += [f"`{name}={value}`" for name, value in entry.options.items()]
    return [
        entry.name,
        entry.group,
        str(lines[0]["trunk"]),
        f"{statistics.fmean(line['parameters'] for line in lines):,.0f}",
        "–".join(str(e) for e in sorted({epochs[0], epochs[-1]})),
        f"{statistics.fmean(line['cpu_seconds'] for line in lines):.0f}",
        " ".join(said).replace("|", "\\|"),
    ]


def _made_on(lines: Sequence[Line]) -> list[str]:
    machines = sorted(
        {f"{r['machine']}, Python {r['python']}, PyTorch {r['torch']}" for r in lines}
    )
    threads = sorted({str(r["threads"]) for r in lines})
    commits = list(dict.fromkeys(r["commit"][:12] for r in lines))
    rows = sorted({f"{r['rows']:,}" for r in lines})
    return [
        f"Measured on {' or '.join(rows)} rows. {'; '.join(machines)}; threads"
        f" {', '.join(threads)}; commits {', '.join(commits)}. CPU seconds are of all threads,"
        " without reading the log."
    ]


def _paragraphs(text: str) -> list[str]:
    return text.strip().splitlines()


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "| --- " * len(head) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
