"""Score every impression of some days with a published package, and measure it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from service.contract.encode import Array, encode_rows
from service.contract.features import FeatureSchema, Side
from service.contract.repository import ModelRef, Repository
from service.scoring.package import LoadedModel, load_package
from service.scoring.threads import cpu_budget
from training.config.file import parse_config
from training.config.task import Task
from training.data.days import Days
from training.data.errors import DataError
from training.data.log import Log
from training.reading import reader_for
from training.scores import attribute_slices, head_metrics, log_slices, metrics_grid

BATCH = 4096
DURATION = "videolen_s"  # whose quantiles are measured apart, where the log has it


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions (N,) by head and metrics by name, for the N impressions of `log`."""

    model: str
    trained: Days | None  # the days the package learned from
    tasks: tuple[Task, ...]  # the heads, in order
    log: Log
    predictions: dict[str, NDArray[np.float32]]
    metrics: dict[str, float]


def evaluate(
    repository: Repository, reference: str, data: Path, days: Days, console: Console
) -> Evaluation:
    """Read the days as the package's own configuration says, with history of all earlier days, and
    score them.

    Raises:
        DataError: the log holds nothing on those days.
    """
    ref = ModelRef.parse(reference)
    model = load_package(
        repository,
        ref.name,
        repository.resolve(ref),
        cpu_budget().threads,
        whole=True,
        variant=ref.variant,
    )
    config = parse_config(
        model.manifest.training.config, name=model.manifest.name, source=f"{model.id}/manifest.json"
    )
    with console.status("reading the log"):
        log = reader_for(config).read(data, days)
        if not log.rows:
            raise DataError(f"{data} holds no impression of days {days}")
        encoded = encode_rows(model.schema, log.columns, log.rows)
    predictions = _score(model, encoded, log.rows, console)
    slices = slices_of(log, config.slices, model.schema, encoded)
    learned = model.manifest.training.data_days
    return Evaluation(
        model=model.id,
        trained=learned and Days(*learned),
        tasks=config.heads,
        log=log,
        predictions=predictions,
        metrics=head_metrics(config.heads, predictions, log, slices),
    )


def slices_of(
    log: Log, conditions: Iterable[str], schema: FeatureSchema, encoded: Mapping[str, Array]
) -> dict[str, NDArray[np.bool_]]:
    """What is measured apart: the configured slices, cold users and items, groups of duration."""
    return (
        log_slices(log, conditions) | cold_rows(schema, encoded) | attribute_slices(log, DURATION)
    )


def cold_rows(schema: FeatureSchema, encoded: Mapping[str, Array]) -> dict[str, NDArray[np.bool_]]:
    """Rows whose user, or item, has no embedding of its own: unseen in training, or too rare."""
    sides: dict[str, tuple[Side, str | None]] = {
        "cold users": ("user", schema.user_id_feature),
        "cold items": ("item", schema.item_id_feature),
    }
    found = {}
    for name, (side, feature) in sides.items():
        at = 0
        for candidate in schema.id_features(side):
            if candidate.name == feature:
                found[name] = encoded[f"{side}_ids"][:, at] == 0
            at += candidate.ids
    return found


def write_predictions(evaluation: Evaluation, path: Path) -> None:
    """Parquet: `row` (0-based row of the log as read), one float32 column a head, and what
    `finerank tune` searches on: see `predictions_frame`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    predictions_frame(evaluation).write_parquet(path)


def predictions_frame(evaluation: Evaluation) -> pl.DataFrame:
    """One row an impression, in the log's order: `row`, heads by name, `user_id`, `item_id`, `day`,
    `label.<name>`, and the numbers among the raw features as `item.<name>`, `user.<name>` and
    `context.<name>`.
    """
    log = evaluation.log
    columns: dict[str, Any] = {"row": log.row, **evaluation.predictions}
    columns |= {
        "user_id": [str(u) for u in log.user_id],
        "item_id": [str(i) for i in log.item_id],
        "day": log.day,
    }
    columns |= {f"label.{name}": label for name, label in log.labels.items()}
    for side in ("item", "user", "context"):
        for name, column in log.columns.get(side, {}).items():
            numbers = _numbers(column)
            if numbers is not None:
                columns[f"{side}.{name}"] = numbers
    return pl.DataFrame(columns).sort("row")


def _numbers(column: NDArray[Any]) -> NDArray[np.float32] | None:
    """A raw column of one number a row, or of texts that are all numbers (hour, tab)."""
    if column.ndim != 1:
        return None
    try:
        return np.array([np.nan if v is None else v for v in column.tolist()], np.float32)
    except (TypeError, ValueError):
        return None


def write_json(evaluation: Evaluation, days: Days, path: Path) -> None:
    document = {
        "model": evaluation.model,
        "days": str(days),
        "trained_days": evaluation.trained and str(evaluation.trained),
        "rows": evaluation.log.rows,
        "metrics": evaluation.metrics,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def seen_in_training(evaluation: Evaluation, days: Days) -> str | None:
    """A warning when the package learned from some of the days it is measured on."""
    trained = evaluation.trained
    if trained is None or trained.last < days.first or days.last < trained.first:
        return None
    return (
        f"{evaluation.model} learned from {trained}: these figures flatter it."
        " What was held out is in its MODEL_CARD.md"
    )


def show_metrics(metrics: dict[str, float], title: str, console: Console) -> None:
    """A table with one row a head and sample space; groups of duration are left to the report."""
    shown = {name: value for name, value in metrics.items() if f", {DURATION} " not in name}
    columns, rows = metrics_grid(shown)
    table = Table("head", "rows", *columns, title=title, title_justify="left")
    for (head, space), values in rows.items():
        table.add_row(head, space, *(f"{values[c]:.4f}" if c in values else "" for c in columns))
    console.print(table)


def _score(
    model: LoadedModel, encoded: dict[str, Array], rows: int, console: Console
) -> dict[str, NDArray[np.float32]]:
    starts = range(0, rows, BATCH)
    runs = [
        model.graphs.run({name: block[at : at + BATCH] for name, block in encoded.items()})
        for at in track(starts, description="scoring", console=console, transient=True)
    ]
    return {head: np.concatenate([run[head] for run in runs]) for head in model.manifest.head_names}
