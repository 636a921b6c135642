"""Metrics of a log's predictions by head and sample space: `vcr.mse[timed, tab=1]`."""

import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from training.config.task import Task
from training.data.errors import DataError
from training.data.log import Log
from training.metrics import (
    auc,
    calibration_error,
    grouped_auc,
    log_loss,
    mse,
    predicted_over_observed,
    xauc,
)

Metric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]

_BY_KIND: dict[str, dict[str, Metric]] = {
    "binary": {
        "auc": auc,
        "log_loss": log_loss,
        "ratio": predicted_over_observed,
        "ece": calibration_error,
    },
    "regression": {
        "mse": mse,
        "xauc": xauc,
        "ratio": predicted_over_observed,
        "ece": calibration_error,
    },
}
_NAME = re.compile(r"(?P<head>[^.]+)\.(?P<metric>[^\[]+)\[(?P<space>.*)\]")
_BETTER_WHEN_SMALLER = {"log_loss", "mse", "ece"}


def head_metrics(
    tasks: Iterable[Task],
    predictions: Mapping[str, NDArray],
    log: Log,
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
) -> dict[str, float]:
    """Every metric of every head, on its own sample space and on each other one where its label
    varies.

    Args:
        predictions: head name -> (N,) in the log's order.
        slices: name -> (N,) rows of it; each is measured inside the head's own sample space.

    A metric that its rows do not define (one class only) is left out, and so is a space that holds
    the same rows as the head's own.
    """
    found: dict[str, float] = {}
    for task in tasks:
        label = log.labels[task.label]
        known = ~np.isnan(label)
        own = known & log.spaces[task.space]
        groups = {task.space: own}
        for name, space in log.spaces.items():
            rows = known & space
            if not np.array_equal(rows, own) and len(np.unique(label[rows])) > 1:
                groups[name] = rows
        groups |= {f"{task.space}, {name}": own & rows for name, rows in (slices or {}).items()}
        for name, rows in groups.items():
            truth = label[rows].astype(np.float64)
            guess = np.asarray(predictions[task.name])[rows].astype(np.float64)
            guess = _as_sampled(guess, task.negative_rate)
            values = {metric: f(truth, guess) for metric, f in _BY_KIND[task.kind].items()}
            if task.kind == "binary":
                values["gauc"] = grouped_auc(truth, guess, log.user_id[rows])
            found |= {f"{task.name}.{m}[{name}]": v for m, v in values.items() if np.isfinite(v)}
    return found


def binary_labels(tasks: Iterable[Task], log: Log) -> dict[str, NDArray[np.float32]]:
    """Labels (N,) of the binary heads, NaN outside their sample space."""
    return {
        task.name: np.where(log.spaces[task.space], log.labels[task.label], np.float32("nan"))
        for task in tasks
        if task.kind == "binary"
    }


def _as_sampled(guess: NDArray[np.float64], negative_rate: float) -> NDArray[np.float64]:
    """P(event) among rows that lost negatives, which is what their labels show: the measured log is
    sampled as the one that was learned from.
    """
    if negative_rate == 1:
        return guess
    return guess / (guess + (1 - guess) * negative_rate)


def criterion(names: Iterable[str], metrics: Mapping[str, float]) -> float:
    """Mean of the named metrics, each signed so that larger is better.

    Raises:
        DataError: a metric that was not measured.
    """
    total = []
    for name in names:
        if name not in metrics:
            raise DataError(f"criterion {name!r} was not measured (known: {', '.join(metrics)})")
        match = _NAME.fullmatch(name)
        smaller = match is not None and match["metric"] in _BETTER_WHEN_SMALLER
        total.append(-metrics[name] if smaller else metrics[name])
    return float(np.mean(total))


def metrics_grid(
    metrics: Mapping[str, float],
) -> tuple[list[str], dict[tuple[str, str], dict[str, float]]]:
    """Flat names -> the metrics there are, and (head, rows) -> {metric: value}; other names are
    left out.
    """
    rows: dict[tuple[str, str], dict[str, float]] = {}
    columns: list[str] = []
    for name, value in metrics.items():
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        rows.setdefault((match["head"], match["space"]), {})[match["metric"]] = value
        if match["metric"] not in columns:
            columns.append(match["metric"])
    return columns, rows


def own_spaces(metrics: Iterable[str]) -> dict[str, str]:
    """Head -> its own sample space: the one that it is measured on first."""
    own: dict[str, str] = {}
    for match in filter(None, map(_NAME.fullmatch, metrics)):
        own.setdefault(match["head"], match["space"])
    return own


def log_slices(log: Log, conditions: Iterable[str]) -> dict[str, NDArray[np.bool_]]:
    """`tab=1` -> the rows whose raw value of `tab`, on whatever side, reads `1`."""
    found = {}
    for condition in conditions:
        name, _, value = condition.partition("=")
        columns = [side[name] for side in log.columns.values() if name in side]
        if not columns:
            raise DataError(f"slice {condition!r}: the log has no {name!r}")
        found[condition] = np.array([str(v) == value for v in columns[0].tolist()])
    return found


def attribute_slices(log: Log, name: str, groups: int = 5) -> dict[str, NDArray[np.bool_]]:
    """Rows by quantile of an item attribute, `videolen_s 7 to 18.5` (the upper edge included in the
    last one only); {} where the log lacks it or it does not vary.
    """
    column = log.columns.get("item", {}).get(name)
    if column is None:
        return {}
    values = np.asarray(column, np.float64)
    known = values[np.isfinite(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, groups + 1))) if len(known) else known
    if len(edges) < 3:
        return {}
    last = len(edges) - 2
    at = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, last)
    at[~np.isfinite(values)] = -1
    return {f"{name} {edges[i]:.4g} to {edges[i + 1]:.4g}": at == i for i in range(last + 1)}
