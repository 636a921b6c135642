"""What a formula's first K would have been worth, from a log that says how likely each was shown.

A list holds candidates i; the running policy showed i with the known chance p_i, and r_i is seen
where it did. The formula puts the set T of K candidates first. Per place of T:

- SNIPS (Swaminathan and Joachims 2015): sum_{shown in T} r_i/p_i over sum_{shown in T} 1/p_i
- DR (Dudik et al. 2011): [sum_{T} g_i + sum_{shown in T} (r_i - g_i)/p_i] over |T|, where g is an
  outcome model: right where either the chances or the model are.

Both assume that a candidate is worth the same wherever in T it stands, whoever is beside it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.metrics import top_rows
from training.tune.lists import Floats, Lists

_RIDGE = 1.0
_FOLDS = 2

UNLOGGED = (
    "The log records no propensity: these figures say how the formula orders what the running"
    " policy showed, not what users would do with what it did not show. Only an experiment tells."
)
SHOWN_ONLY = (
    "The log holds only what was shown: SNIPS reweighs that, and the doubly robust estimate, which"
    " needs the candidates that were not shown, is left out."
)


@dataclass(frozen=True)
class Estimate:
    """A mean a place, its standard error over lists, and how many shown rows carry it (Kish)."""

    value: float
    error: float
    effective_rows: float


def snips(lists: Lists, scores: Floats, outcome: Floats, depth: int) -> Estimate | None:
    """None where nothing that was shown is among the first `depth`."""
    weight = _weights(lists, scores, outcome, depth)
    if not weight.any():
        return None
    value = float((weight * np.nan_to_num(outcome)).sum() / weight.sum())
    residual = np.bincount(lists.of_list, weights=weight * (np.nan_to_num(outcome) - value))
    return Estimate(value, _error(residual, weight.sum()), _effective(weight))


def doubly_robust(lists: Lists, scores: Floats, outcome: Floats, depth: int) -> Estimate | None:
    """None where nothing that was shown is among the first `depth`."""
    weight = _weights(lists, scores, outcome, depth)
    if not weight.any():
        return None
    top = top_rows(scores, lists.of_list, depth)
    guess = outcome_model(lists, outcome)
    part = np.where(top, guess, 0.0) + weight * (np.nan_to_num(outcome) - guess)
    value = float(part.sum() / top.sum())
    places = np.bincount(lists.of_list, weights=top)
    residual = np.bincount(lists.of_list, weights=part) - value * places
    return Estimate(value, _error(residual, top.sum()), _effective(weight))


def outcome_model(lists: Lists, outcome: Floats) -> Floats:
    """(N,) ridge regression of the outcome on the heads and their logarithms, within the range of
    the outcome; no list is judged by a fit that saw it.
    """
    heads = np.stack(list(lists.heads.values()), axis=1)
    inputs = np.concatenate([heads, np.log(np.clip(heads, 1e-6, None))], axis=1)
    spread = inputs.std(axis=0)
    inputs = (inputs - inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    inputs = np.concatenate([np.ones((lists.rows, 1)), inputs], axis=1)
    seen = lists.shown & np.isfinite(outcome)
    fold = lists.of_list % _FOLDS
    guess = np.empty(lists.rows)
    for at in range(_FOLDS):
        use = seen & (fold != at) if (seen & (fold != at)).any() else seen
        x, y = inputs[use], outcome[use]
        penalty = np.diag([0.0] + [_RIDGE] * (inputs.shape[1] - 1))
        guess[fold == at] = inputs[fold == at] @ np.linalg.solve(x.T @ x + penalty, x.T @ y)
    return np.clip(guess, outcome[seen].min(), outcome[seen].max())


def _weights(lists: Lists, scores: Floats, outcome: Floats, depth: int) -> Floats:
    """1/p of the rows that were shown and stand among the first `depth`, else 0."""
    counted = top_rows(scores, lists.of_list, depth) & lists.shown & np.isfinite(outcome)
    return np.where(counted, 1.0 / lists.propensity, 0.0)


def _error(residual: Floats, total: float) -> float:
    return float(np.sqrt((residual**2).sum()) / total)


def _effective(weight: NDArray[np.float64]) -> float:
    return float(weight.sum() ** 2 / (weight**2).sum())
