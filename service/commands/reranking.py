"""Join the plan's re-rank rules, the room that knows what they do, and the scorer that ranks."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.experiment.reranking import Rerank
from service.rerank.rerank import rerank
from service.rerank.rules import Given, Reranked


def rerank_by_plan(
    rules: Rerank,
    *,
    told: bool,
    ids: Sequence[str],
    order: NDArray[np.intp],
    valid: int,
    scores: NDArray[np.float64],
    categories: Mapping[str, NDArray[np.integer]],
    attributes: Mapping[str, NDArray[np.float64]],
) -> Reranked:
    """See `service.scoring.reranking.Reranker`."""
    return rerank(rules, Given(ids, order, valid, scores, categories, attributes), told=told)
