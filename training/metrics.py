"""Metrics of one head on one sample space. NumPy only; every one is exact, ties included.

N rows; labels and predictions are (N,) float arrays. A metric that the rows do not define is NaN.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def auc(label: Array, score: Array) -> float:
    """P(a positive scores above a negative), ties count half. NaN without both classes."""
    positive = label > 0.5
    positives = int(positive.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return float("nan")
    above = _mid_ranks(score)[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def grouped_auc(label: Array, score: Array, group: NDArray) -> float:
    """Mean AUC inside groups (users), weighted by their rows; groups of one class are left out."""
    if not len(label):
        return float("nan")
    _, group = np.unique(group, return_inverse=True)
    positive = label > 0.5
    # Ranks inside a group = ranks of (group, score) less the rows of the groups before it.
    order = np.lexsort((score, group))
    ranks = np.empty(len(score))
    ranks[order] = _mid_ranks_of_sorted(group[order], score[order])
    rows = np.bincount(group)
    positives = np.bincount(group, weights=positive)
    before = np.concatenate([[0], np.cumsum(rows)[:-1]])
    above = np.bincount(group, weights=(ranks - before[group]) * positive)
    above -= positives * (positives + 1) / 2
    pairs = positives * (rows - positives)
    usable = pairs > 0
    if not usable.any():
        return float("nan")
    return float(np.average(above[usable] / pairs[usable], weights=rows[usable]))


def log_loss(label: Array, score: Array) -> float:
    """Mean cross-entropy; predictions are kept 1e-7 away from 0 and 1."""
    if not len(label):
        return float("nan")
    score = np.clip(score, 1e-7, 1 - 1e-7)
    return float(-np.mean(label * np.log(score) + (1 - label) * np.log1p(-score)))


def predicted_over_observed(label: Array, score: Array) -> float:
    """Sum of predictions over sum of labels: 1 is calibrated in the large."""
    observed = label.sum()
    return float(score.sum() / observed) if observed else float("nan")


def roc_curve(label: Array, score: Array) -> tuple[Array, Array]:
    """(false, true) positive rates at every threshold between different scores, both from 0 to 1;
    empty without both classes. The area under it is `auc`.
    """
    positive = (label > 0.5)[np.argsort(-score, kind="stable")]
    if positive.all() or not positive.any():
        return np.empty(0), np.empty(0)
    last = np.flatnonzero(np.diff(np.sort(-score), append=np.inf))  # of each run of equal scores
    true = np.concatenate([[0], np.cumsum(positive)[last]])
    false = np.concatenate([[0], np.cumsum(~positive)[last]])
    return false / false[-1], true / true[-1]


def reliability(label: Array, score: Array, bins: int = 10) -> tuple[Array, Array, Array]:
    """Mean prediction, mean label and rows of `bins` groups of equally many rows by prediction.

    Equal predictions share a group, so there may be fewer, of unequal size.
    """
    order = np.argsort(score, kind="stable")
    first_equal = np.searchsorted(score[order], score[order], side="left")
    group = np.empty(len(score), np.int64)
    group[order] = first_equal * bins // max(len(score), 1)
    rows = np.bincount(group, minlength=bins)
    held = rows > 0
    predicted = np.bincount(group, weights=score, minlength=bins)[held] / rows[held]
    observed = np.bincount(group, weights=label, minlength=bins)[held] / rows[held]
    return predicted, observed, rows[held].astype(np.float64)


def calibration_error(label: Array, score: Array) -> float:
    """ECE: |mean prediction - mean label|, averaged over the rows' deciles by prediction."""
    if not len(label):
        return float("nan")
    predicted, observed, rows = reliability(label, score)
    return float(np.average(np.abs(predicted - observed), weights=rows))


def ndcg(gain: Array, score: Array, group: NDArray, depth: int) -> float:
    """Mean over groups of DCG over the best possible DCG of their first `depth` rows by score; ties
    in the given order. Groups without gain are left out; NaN when all are.
    """
    if not len(gain):
        return float("nan")
    _, group = np.unique(group, return_inverse=True)
    found = _dcg(gain, score, group, depth)
    best = _dcg(gain, gain, group, depth)
    return float(np.mean(found[best > 0] / best[best > 0])) if (best > 0).any() else float("nan")


def top_rows(score: Array, group: NDArray[np.int64], depth: int) -> NDArray[np.bool_]:
    """(N,) whether a row is among the first `depth` of its group by score, ties in the given
    order.
    """
    return _places(score, group) < depth


def mse(label: Array, score: Array) -> float:
    return float(np.mean((score - label) ** 2)) if len(label) else float("nan")


def xauc(label: Array, score: Array) -> float:
    """Of all pairs with different labels, the share that the score orders as the label; ties count
    half.

    Exact in O(N log N): pairs are counted bit by bit of the scores' dense ranks, from the highest.
    """
    if not len(label):
        return float("nan")
    label_rank = _dense_ranks(label)
    score_rank = _dense_ranks(score)
    # Equal labels in descending score order: none of their pairs then counts as concordant.
    order = np.lexsort((-score_rank, label_rank))
    different = _pairs(len(label)) - _equal_pairs(label_rank)
    if not different:
        return float("nan")
    both = label_rank * (int(score_rank.max()) + 1) + score_rank
    tied = _equal_pairs(score_rank) - _equal_pairs(both)
    return (_ascending_pairs(score_rank[order]) + tied / 2) / different


def _dcg(gain: Array, score: Array, group: NDArray[np.int64], depth: int) -> Array:
    place = _places(score, group)
    return np.bincount(group, weights=np.where(place < depth, gain / np.log2(place + 2), 0.0))


def _places(score: Array, group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row's place in its group by descending score, from 0."""
    order = np.lexsort((-score, group))
    start = np.flatnonzero(np.diff(group[order], prepend=-1))
    place = np.empty(len(score), np.int64)
    place[order] = np.arange(len(score)) - np.repeat(start, np.diff(start, append=len(score)))
    return place


def _ascending_pairs(ranks: NDArray[np.int64]) -> int:
    """Number of i < j with ranks[i] < ranks[j]."""
    count = 0
    group = np.zeros(len(ranks), np.int64)  # rows that agree on all higher bits, in the given order
    for bit in reversed(range(int(ranks.max(initial=0)).bit_length())):
        one = (ranks >> bit) & 1
        zeros_before = np.cumsum(1 - one) - (1 - one)
        start = np.flatnonzero(np.diff(group, prepend=-1))
        before_group = np.repeat(zeros_before[start], np.diff(start, append=len(ranks)))
        count += int(((zeros_before - before_group) * one).sum())
        order = np.argsort(2 * group + one, kind="stable")
        ranks, group = ranks[order], (2 * group + one)[order]
    return count


def _mid_ranks(values: Array) -> Array:
    """Ranks from 1; equal values share the mean of theirs."""
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = _mid_ranks_of_sorted(np.zeros(len(values), np.int64), values[order])
    return ranks


def _mid_ranks_of_sorted(group: NDArray, values: Array) -> Array:
    new = np.ones(len(values), bool)
    new[1:] = (values[1:] != values[:-1]) | (group[1:] != group[:-1])
    start = np.flatnonzero(new)
    length = np.diff(start, append=len(values))
    return np.repeat(start + (length + 1) / 2, length)


def _dense_ranks(values: Array) -> NDArray[np.int64]:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _equal_pairs(ranks: NDArray[np.int64]) -> int:
    counts = np.unique(ranks, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _pairs(rows: int) -> int:
    return rows * (rows - 1) // 2
