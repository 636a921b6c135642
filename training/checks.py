"""What would waste a run, found before its first step: days without rows, labels without meaning.

What is wrong with a single cell was refused already when the log was read (`training.data.typed`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from training.config.run import RunConfig
from training.config.task import Task
from training.data.days import Days
from training.data.errors import DataError
from training.data.log import Log, Origin
from training.dataset import label_and_space
from training.scores import criterion, head_metrics, log_slices

_UNKNOWN = Origin()


def require_trainable(config: RunConfig, train: Log, has: Sequence[int]) -> None:
    """Check rows to learn from.

    Args:
        has: the days of the whole log, of which `train` holds some.

    Raises:
        DataError: no rows; a label with one value only.
    """
    require_rows(train.rows > 0, config.data.train_days, "training", has, train.origin)
    for task in config.tasks:
        _require_varying(task, train, "training")


def require_measurable(config: RunConfig, valid: Log, has: Sequence[int]) -> None:
    """Check rows to be measured on.

    Raises:
        DataError: a validation day without rows; a label with one value only; a slice or criterion
            that nothing here can measure.
    """
    require_rows(valid.rows > 0, config.data.validate_days, "validation", has, valid.origin)
    _require_bounds(valid, config.data.validate_days)
    for task in config.heads:
        _require_varying(task, valid, "validation")
    _require_measured(config, valid)


def require_rows(
    there: bool, days: Days, what: str, has: Sequence[int], origin: Origin = _UNKNOWN
) -> None:
    """Check that the log has rows of these days.

    Raises:
        DataError: it has none; the sentence says which days it has.
    """
    if not there:
        log = origin.source or "the log"
        raise DataError(f"{what} days {days}: {log} has no row of them (it has: {_said(has)})")


def _require_bounds(valid: Log, days: Days) -> None:
    """A log that ends too early would be measured on fewer days than was asked for."""
    for day in {days.first, days.last} - {Days().first, Days().last}:
        if not (valid.day == day).any():
            has = _said(np.unique(valid.day).tolist())
            log = valid.origin.source or "the log"
            raise DataError(f"validation days {days}: {log} has no row of {day} (it has: {has})")


def _said(days: Sequence[int]) -> str:
    if len(days) > 4:
        return f"{days[0]} … {days[-1]}"
    return ", ".join(map(str, days)) or "nothing"


@dataclass(frozen=True)
class Spread:
    """How many known labels a task has in its space, and their range (nan without any)."""

    rows: int = 0
    least: float = math.nan
    most: float = math.nan

    @classmethod
    def of(cls, labels: NDArray[np.float32]) -> Self:
        if not len(labels):
            return cls()
        return cls(len(labels), float(labels.min()), float(labels.max()))

    def plus(self, other: "Spread") -> "Spread":
        least, most = np.fmin(self.least, other.least), np.fmax(self.most, other.most)
        return Spread(self.rows + other.rows, float(least), float(most))


def require_spread(task: Task, spread: Spread, origin: Origin, what: str) -> None:
    """Check that a label varies.

    Raises:
        DataError: it does not: there is nothing to learn or to measure.
    """
    if spread.least < spread.most:
        return
    found = f"is {spread.least:g} in all {spread.rows:,}" if spread.rows else "is known in none"
    raise DataError(
        f"task {task.name}: {origin.column(task.label)} {found} of the {what} rows"
        f" in space {task.space!r}: nothing to {'learn' if what == 'training' else 'measure'}"
    )


def _require_varying(task: Task, log: Log, what: str) -> None:
    label, inside = label_and_space(task, log)
    require_spread(task, Spread.of(label[inside]), log.origin, what)


def _require_measured(config: RunConfig, valid: Log) -> None:
    """Measure guesses: what the criterion names must exist before an epoch has been spent."""
    slices = log_slices(valid, config.slices)
    if config.train.criterion:
        guess = np.random.default_rng(0).random(valid.rows, dtype=np.float32)
        guesses = {task.name: guess for task in config.heads}
        criterion(config.train.criterion, head_metrics(config.heads, guesses, valid, slices))
