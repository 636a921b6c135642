"""What would waste a run, found before its first step: days without rows, labels without meaning.

What is wrong with a single cell was refused already when the log was read (`training.data.typed`).
"""

import numpy as np
from numpy.typing import NDArray

from training.config.run import RunConfig
from training.config.task import Task
from training.data.days import Days
from training.data.errors import DataError
from training.data.log import Log
from training.dataset import label_and_space
from training.scores import criterion, head_metrics, log_slices


def require_trainable(config: RunConfig, log: Log, train: Log, valid: Log) -> None:
    """Check the rows that a run learns from and those that it is measured on.

    Args:
        log: all that was read; `train`, `valid`: its rows of the run's days.

    Raises:
        DataError: no rows to learn from; a validation day without rows; a label with one value
            only; a slice or criterion that nothing here can measure.
    """
    _require_rows(log, train, config.data.train_days, "training")
    _require_rows(log, valid, config.data.validate_days, "validation")
    _require_bounds(valid, config.data.validate_days)
    for what, part, tasks in (
        ("training", train, config.tasks),
        ("validation", valid, config.heads),
    ):
        for task in tasks:
            _require_varying(task, part, what)
    _require_measured(config, valid)


def _require_rows(log: Log, part: Log, days: Days, what: str) -> None:
    if not part.rows:
        has = _days_of(log) if log.rows else "nothing"
        raise DataError(f"{what} days {days}: the log has no row of them (it has: {has})")


def _require_bounds(valid: Log, days: Days) -> None:
    """A log that ends too early would be measured on fewer days than was asked for."""
    for day in {days.first, days.last} - {Days().first, Days().last}:
        if not (valid.day == day).any():
            has = _days_of(valid)
            raise DataError(f"validation days {days}: the log has no row of {day} (it has: {has})")


def _days_of(log: Log) -> str:
    days = np.unique(log.day).tolist()
    return ", ".join(map(str, days)) if len(days) <= 4 else f"{days[0]} … {days[-1]}"


def _require_varying(task: Task, log: Log, what: str) -> None:
    label, inside = label_and_space(task, log)
    values: NDArray[np.float32] = label[inside]
    if len(values) and values.min() < values.max():
        return
    found = f"is {values[0]:g} in all {len(values):,}" if len(values) else "is known in none"
    raise DataError(
        f"task {task.name}: {log.origin.column(task.label)} {found} of the {what} rows"
        f" in space {task.space!r}: nothing to {'learn' if what == 'training' else 'measure'}"
    )


def _require_measured(config: RunConfig, valid: Log) -> None:
    """Measure guesses: what the criterion names must exist before an epoch has been spent."""
    slices = log_slices(valid, config.slices)
    if config.train.criterion:
        guess = np.random.default_rng(0).random(valid.rows, dtype=np.float32)
        guesses = {task.name: guess for task in config.heads}
        criterion(config.train.criterion, head_metrics(config.heads, guesses, valid, slices))
