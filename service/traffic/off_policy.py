"""What a draft's first K would have been worth, where the log says how likely each item was shown.

A request holds candidates i; the running policy showed i with the known chance p_i, and r_i is seen
where it did. The draft puts the set T of K candidates first. Per place of T:

- SNIPS (Swaminathan and Joachims 2015): sum_{shown in T} r_i/p_i over sum_{shown in T} 1/p_i
- DR (Dudik et al. 2011): [sum_{T} g_i + sum_{shown in T} (r_i - g_i)/p_i] over |T|, where g is an
  outcome model: right where either the chances or the model are.

Both assume that a candidate is worth the same wherever in T it stands, whoever is beside it. The
same estimators as in training/tune/off_policy.py, on candidates of the log.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RIDGE = 1.0
_FOLDS = 2


@dataclass(frozen=True)
class Shown:
    """N candidates in requests. `reward`: NaN where not shown; `chance`: of having been shown.

    `inputs`: (N, F), what the outcome model sees. `of_request`: (N,) numbers of the requests.
    """

    of_request: NDArray[np.int64]
    inputs: Floats
    reward: Floats
    chance: Floats


@dataclass(frozen=True)
class Estimate:
    """A mean a place, its standard error over requests, how many shown rows carry it (Kish)."""

    value: float
    error: float
    effective_rows: float


def snips(shown: Shown, top: NDArray[np.bool_]) -> Estimate | None:
    """None where nothing that was shown is in `top`, (N,)."""
    weight, reward = _weights(shown, top), np.nan_to_num(shown.reward)
    total = float(weight.sum())
    if not total:
        return None
    value = float((weight * reward).sum()) / total
    residual = np.bincount(shown.of_request, weights=weight * (reward - value))
    return Estimate(value, _error(residual, total), _effective(weight))


def doubly_robust(shown: Shown, top: NDArray[np.bool_], guess: Floats) -> Estimate | None:
    """None where nothing that was shown is in `top`; `guess`: (N,) of an outcome model."""
    weight, reward = _weights(shown, top), np.nan_to_num(shown.reward)
    if not weight.any():
        return None
    part = np.where(top, guess, 0.0) + weight * (reward - guess)
    places = np.bincount(shown.of_request, weights=top)
    value = float(part.sum() / top.sum())
    residual = np.bincount(shown.of_request, weights=part) - value * places
    return Estimate(value, _error(residual, float(top.sum())), _effective(weight))


def outcome_model(shown: Shown) -> Floats:
    """(N,) ridge regression on the inputs and their logarithms, within the range of the rewards; no
    request is judged by a fit that saw it.
    """
    raw = np.nan_to_num(shown.inputs)
    inputs = np.concatenate([raw, np.log(np.clip(raw, 1e-6, None))], axis=1)
    spread = inputs.std(axis=0)
    inputs = (inputs - inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    inputs = np.concatenate([np.ones((len(raw), 1)), inputs], axis=1)
    seen, fold = np.isfinite(shown.reward), shown.of_request % _FOLDS
    guess = np.empty(len(raw))
    for at in range(_FOLDS):
        use = seen & (fold != at) if (seen & (fold != at)).any() else seen
        x, y = inputs[use], shown.reward[use]
        penalty = np.diag([0.0] + [_RIDGE] * (inputs.shape[1] - 1))
        guess[fold == at] = inputs[fold == at] @ np.linalg.solve(x.T @ x + penalty, x.T @ y)
    return np.clip(guess, shown.reward[seen].min(), shown.reward[seen].max())


def _weights(shown: Shown, top: NDArray[np.bool_]) -> Floats:
    """1/p of the rows that were shown and are in `top`, else 0."""
    return np.where(top & np.isfinite(shown.reward), 1.0 / shown.chance, 0.0)


def _error(residual: NDArray[np.number[Any]], total: float) -> float:
    return math.sqrt(float((residual**2).sum())) / total


def _effective(weight: Floats) -> float:
    return float(weight.sum() ** 2 / (weight**2).sum())
