"""ROC and reliability of every head on its own sample space."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from training.config.task import Task
from training.data.log import Log
from training.metrics import reliability, roc_curve
from training.report.document import HeadCurves, Reliability, Roc

POINTS = 200  # of a drawn ROC: a page of five heads stays under a megabyte


def head_curves(
    tasks: Iterable[Task], predictions: Mapping[str, NDArray], log: Log
) -> dict[str, HeadCurves]:
    """Curves by head; one whose label is known nowhere in its space is left out."""
    found = {}
    for task in tasks:
        rows = log.spaces[task.space] & ~np.isnan(log.labels[task.label])
        if not rows.any():
            continue
        truth = log.labels[task.label][rows].astype(np.float64)
        guess = np.asarray(predictions[task.name])[rows].astype(np.float64)
        predicted, observed, counts = reliability(truth, guess)
        found[task.name] = HeadCurves(
            space=task.space,
            rows=int(rows.sum()),
            roc=_roc(truth, guess) if task.kind == "binary" else None,
            reliability=Reliability(
                predicted=_rounded(predicted),
                observed=_rounded(observed),
                rows=tuple(int(n) for n in counts),
            ),
        )
    return found


def _roc(truth: NDArray[np.float64], guess: NDArray[np.float64]) -> Roc | None:
    false, true = roc_curve(truth, guess)
    if not len(false):
        return None
    # Along the curve's length, so that its steep start is not lost.
    length = false + true
    at = np.unique(np.searchsorted(length, np.linspace(0, 2, POINTS)).clip(max=len(length) - 1))
    return Roc(false=_rounded(false[at]), true=_rounded(true[at]))


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(v), 6) for v in values)
