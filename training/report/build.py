"""Evaluations and runs -> `Report`, and a report -> its files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.data.days import Days
from training.evaluate import Evaluation, seen_in_training
from training.report.curves import head_curves
from training.report.document import FILE, History, Inside, Report
from training.report.model_page import model_page


def report_of(
    evaluation: Evaluation,
    days: Days,
    *,
    history: History | None = None,
    inside: Inside | None = None,
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """The report of a model on some days, with what is known of its training."""
    warning = seen_in_training(evaluation, days)
    return Report(
        model=evaluation.model,
        days=str(days),
        rows=evaluation.log.rows,
        trained=evaluation.trained and str(evaluation.trained),
        notes=(*([warning] if warning else []), *notes),
        facts=dict(facts or {}),
        metrics=evaluation.metrics,
        heads=head_curves(evaluation.tasks, evaluation.predictions, evaluation.log),
        history=history or History(),
        inside=inside or Inside(),
    )


def recorded(runs: Path, model: str) -> Report | None:
    """What `finerank train` reported of `name/version`, where its runs directory is at hand."""
    directory = runs / model / "report"
    return Report.load(directory) if (directory / FILE).exists() else None


def write_report(report: Report, directory: Path) -> None:
    """report.json, index.html, report.md and its images."""
    report.save(directory)
    model_page(report).write(directory)
