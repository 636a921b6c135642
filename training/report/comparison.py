"""Several reports on one page: a table with the differences from the first, and curves overlaid."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.report.document import Report, ReportError
from training.report.model_page import training_figures
from training.report.page import Block, Page, Section, Table, Text, present
from training.report.plots import reliability_plot, roc_plot
from training.scores import metrics_grid, own_spaces

_SHOWN = ("auc", "gauc", "mse", "log_loss", "ratio", "ece")
_SAYS = (
    "In brackets: the difference from the first run. One run says nothing about chance: repeat a"
    " run with other seeds before a small difference is believed."
)


def compare(directories: Sequence[Path]) -> Page:
    """The page of two or more reports.

    Raises:
        ReportError: a report that cannot be read.
    """
    reports = _named([(directory, Report.load(directory)) for directory in directories])
    heads = {run: report.heads for run, report in reports.items()}
    warnings = [Text(note, warning=True) for r in reports.values() for note in r.notes]
    if len({(r.days, r.rows) for r in reports.values()}) > 1:
        differ = "; ".join(f"{run}: {r.rows:,} rows of {r.days}" for run, r in reports.items())
        warnings.append(Text(f"The runs were measured on different rows: {differ}.", warning=True))
    return Page(
        f"Comparison of {', '.join(reports)}",
        [
            Section("Runs", [*warnings, _runs(reports)]),
            Section("Heads on their own sample spaces", [Text(_SAYS), *_tables(reports, "")]),
            Section("Inside slices", _tables(reports, ", ")),
            Section("ROC", present(roc_plot(heads))),
            Section("Calibration", present(reliability_plot(heads))),
            Section("Training", training_figures(reports)),
        ],
    )


def _named(found: Sequence[tuple[Path, Report]]) -> dict[str, Report]:
    """By model; by directory where two reports are of one model."""
    if len(found) < 2:
        raise ReportError("a comparison takes two reports or more")
    models = [report.model for _, report in found]
    names = [r.model if models.count(r.model) == 1 else f"{r.model} ({d})" for d, r in found]
    if len(set(names)) < len(names):
        raise ReportError(f"the same report twice: {', '.join(str(d) for d, _ in found)}")
    return dict(zip(names, (report for _, report in found), strict=True))


def _runs(reports: Mapping[str, Report]) -> Table:
    facts = list(dict.fromkeys(name for r in reports.values() for name in r.facts))
    rows = [
        [run, r.days, f"{r.rows:,}", r.trained or "", *(r.facts.get(name, "") for name in facts)]
        for run, r in reports.items()
    ]
    return Table(["run", "days", "rows", "trained on", *facts], rows)


def _tables(reports: Mapping[str, Report], inside: str) -> list[Block]:
    """One table a head and metric kind; `inside` is "" for own spaces, ", " for their slices."""
    grids = {run: metrics_grid(report.metrics)[1] for run, report in reports.items()}
    own = {h: s for report in reports.values() for h, s in own_spaces(report.metrics).items()}
    found: list[Block] = []
    for head, space in own.items():
        places = dict.fromkeys(
            (of, where)
            for grid in grids.values()
            for of, where in grid
            if of == head and (where.startswith(space + inside) if inside else where == space)
        )
        rows = []
        for place in places:
            values = {run: grid.get(place, {}) for run, grid in grids.items()}
            for metric in _SHOWN:
                if any(metric in of for of in values.values()):
                    cells = _differences([of.get(metric) for of in values.values()])
                    rows.append([f"{head} {metric} [{place[1]}]", *cells])
        if rows:
            found.append(Table(["", *reports], rows))
    return found


def _differences(values: Sequence[float | None]) -> list[str]:
    first = values[0]
    cells = []
    for at, value in enumerate(values):
        if value is None:
            cells.append("")
        elif at == 0 or first is None:
            cells.append(f"{value:.4f}")
        else:
            cells.append(f"{value:.4f} ({value - first:+.4f})")
    return cells
