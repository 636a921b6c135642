"""The page of one model: how good, where, how well calibrated, how it learned, what it looks at."""

from collections.abc import Mapping
from itertools import groupby

from training.report.document import Report
from training.report.page import Block, Page, Section, Table, Text, present
from training.report.plots import (
    conflict_plot,
    history_plot,
    reliability_plot,
    roc_plot,
    utilisation_plot,
)
from training.scores import metrics_grid, own_spaces

_QUALITY = "Every figure names the rows it was measured on; AUCs compare only on the same ones."


def model_page(report: Report) -> Page:
    """Sections whose figures the report lacks are left out."""
    return Page(
        f"{report.model} on {report.days}",
        [
            Section("About", _about(report)),
            Section("Quality by sample space", [Text(_QUALITY), spaces_table(report.metrics)]),
            Section("Quality inside slices", slice_tables(report.metrics)),
            Section("ROC", present(roc_plot({report.model: report.heads}))),
            Section("Calibration", _calibration(report)),
            Section("Training", training_figures({report.model: report})),
            Section("Expert utilisation", _utilisation(report)),
            Section("Gradient conflict", _conflict(report)),
        ],
    )


def spaces_table(metrics: Mapping[str, float]) -> Table:
    """One row a head and sample space."""
    columns, rows = metrics_grid(metrics)
    own = own_spaces(metrics)
    inside = {
        place: values
        for place, values in rows.items()
        if not place[1].startswith(f"{own[place[0]]}, ")
    }
    return _table(
        columns, {f"{head} [{space}]": values for (head, space), values in inside.items()}
    )


def slice_tables(metrics: Mapping[str, float]) -> list[Block]:
    """One table a head: its own sample space, then slices of it."""
    columns, rows = metrics_grid(metrics)
    own = own_spaces(metrics)
    found: list[Block] = []
    for head, space in own.items():
        slices = {
            where.removeprefix(f"{space}, "): values
            for (of, where), values in rows.items()
            if of == head and where.startswith(f"{space}, ")
        }
        if slices:
            whole = {f"{head} [{space}], all": rows[head, space]}
            found.append(_table(columns, whole | slices))
    return found


def training_figures(reports: Mapping[str, Report]) -> list[Block]:
    """Loss by task, and one ranking metric a head on its own sample space, by epoch."""
    best = {run: report.history.best_epoch for run, report in reports.items()}
    losses = {run: report.history.losses for run, report in reports.items()}
    shown = {
        run: {
            name: curve
            for name, curve in report.history.metrics.items()
            if name in _headlines(report.history.metrics)
        }
        for run, report in reports.items()
    }
    return present(
        history_plot("loss", losses, best=best, says="Loss on training minibatches"),
        history_plot("validation", shown, best=best, says="Metrics on the validation days"),
    )


def _headlines(names: Mapping[str, object]) -> set[str]:
    own = own_spaces(names)
    wanted = {
        f"{head}.{metric}[{space}]" for head, space in own.items() for metric in ("auc", "mse")
    }
    return wanted & names.keys()


def _about(report: Report) -> list[Block]:
    facts = {"days": report.days, "rows": f"{report.rows:,}"}
    if report.trained:
        facts["trained on"] = report.trained
    rows = [[name, value] for name, value in (facts | report.facts).items()]
    return [*(Text(note, warning=True) for note in report.notes), Table(["", report.model], rows)]


def _calibration(report: Report) -> list[Block]:
    figure = reliability_plot({report.model: report.heads})
    if figure is None:
        return []
    _, rows = metrics_grid(report.metrics)
    table = [
        [
            f"{head} [{curves.space}]",
            f"{curves.rows:,}",
            _cell(rows.get((head, curves.space), {}).get("ratio")),
            _cell(rows.get((head, curves.space), {}).get("ece")),
        ]
        for head, curves in report.heads.items()
    ]
    head = ["head", "rows", "predicted over observed (PCOC)", "calibration error (ECE)"]
    return [Table(head, table), figure]


def _utilisation(report: Report) -> list[Block]:
    return [utilisation_plot(level, tasks) for level, tasks in report.inside.utilisation.items()]


def _conflict(report: Report) -> list[Block]:
    found = report.inside.conflicts
    if not found:
        return []
    said = (
        f"Gradients of the tasks' losses after training, on {found[0].minibatches} minibatches."
        " A negative cosine means that what helps one task hurts the other."
    )
    blocks: list[Block] = [Text(said)]
    for part, conflicts in groupby(found, key=lambda c: c.part):
        of = list(conflicts)
        blocks.append(conflict_plot(part, of))
        rows = [
            [" and ".join(c.tasks), f"{c.cosine:+.3f}", f"{c.deviation:.3f}", f"{c.opposed:.0%}"]
            for c in of
        ]
        blocks.append(Table([part, "cosine", "deviation", "opposed"], rows))
    return blocks


def _table(columns: list[str], rows: Mapping[str, Mapping[str, float]]) -> Table:
    cells = [[name, *(_cell(values.get(c)) for c in columns)] for name, values in rows.items()]
    return Table(["", *columns], cells)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
