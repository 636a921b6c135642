"""Decay and MMR: orders that prefer what is unlike the items before it. No item is left out."""

import numpy as np
from numpy.typing import NDArray

from service.rerank.rules import UNKNOWN, Decay, Floats, Given, Ids, Mmr

Rows = NDArray[np.intp]


def repeats(categories: Ids) -> Rows:
    """How many items before each one have its category; 0 where that is unknown."""
    by_category = np.argsort(categories, kind="stable")
    found = categories[by_category]
    starts = np.flatnonzero(np.concatenate([[True], found[1:] != found[:-1]]))
    lengths = np.diff(np.concatenate([starts, [len(found)]]))
    counts = np.empty(len(categories), np.intp)
    counts[by_category] = np.arange(len(found)) - np.repeat(starts, lengths)
    counts[categories == UNKNOWN] = 0
    return counts


def decayed(rule: Decay, categories: Ids, scores: Floats) -> Floats:
    """Scores, best first, after decay; a negative score falls by the same share of its size."""
    kept = rule.floor + (1 - rule.floor) * np.power(rule.factor, repeats(categories))
    return np.where(scores < 0, scores * (2 - kept), scores * kept)


def by_mmr(rule: Mmr, given: Given, rows: Rows, scores: Floats) -> Rows:
    """Places in `rows` (best first, with their scores) in MMR's order."""
    low, high = scores.min(), scores.max()
    relevance = (scores - low) / (high - low) if high > low else np.zeros(len(scores))
    first = min(rule.first, len(rows))
    if isinstance(rule.by, str):
        chosen = _by_category(rule.weight, given.categories[rule.by][rows], relevance)[:first]
    else:
        vectors = np.stack([given.attributes[name][rows] for name in rule.by], axis=1)
        chosen = _by_vector(rule.weight, vectors, relevance, first)
    left = np.ones(len(rows), bool)
    left[chosen] = False
    return np.concatenate([chosen, np.flatnonzero(left)])


def _by_category(weight: float, categories: Ids, relevance: Floats) -> Rows:
    """Likeness is 0 or 1 and the best of a category comes before its others, so that the greedy
    choice is a sort: every item but the first of its category has the same penalty.
    """
    keys = (1 - weight) * relevance - weight * (repeats(categories) > 0)
    return np.argsort(-keys, kind="stable")


def _by_vector(weight: float, vectors: Floats, relevance: Floats, first: int) -> Rows:
    sizes = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.divide(vectors, sizes, out=np.zeros_like(vectors), where=sizes > 0)
    keys = (1 - weight) * relevance
    alike = np.full(len(units), -1.0)
    chosen = np.empty(first, np.intp)
    penalty = np.zeros(len(units))
    for place in range(first):
        best = int((keys - penalty).argmax())
        chosen[place] = best
        keys[best] = -np.inf
        np.maximum(alike, units @ units[best], out=alike)
        np.multiply(alike, weight, out=penalty)
    return chosen
