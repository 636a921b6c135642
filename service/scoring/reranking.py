"""Apply the rules that a plan has after fusion; what they read is gathered here.

The rules' own room is no part of scoring: whoever builds the scorer hands its function over.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.fusion import Scores
from service.scoring.prepared import Prepared
from service.scoring.ranking import RankInput, Reranked, RerankRules

Order = NDArray[np.intp]


class Reranker(Protocol):
    """Candidates, best first -> another order of them.

    `rules`: of the plans that it was written for. `valid`: so many of `order` have scores. `told`:
    say what moved each item.
    """

    def __call__(
        self,
        rules: Any,
        *,
        told: bool,
        ids: Sequence[str],
        order: Order,
        valid: int,
        scores: NDArray[np.float64],
        categories: Mapping[str, NDArray[np.integer]],
        attributes: Mapping[str, NDArray[np.float64]],
    ) -> Reranked: ...


def no_rules(rules: Any, **given: Any) -> Reranked:
    """The reranker of a scorer that was built without one."""
    raise RuntimeError("a plan has re-rank rules, and this scorer was built without a reranker")


def apply_rules(
    reranker: Reranker,
    rules: RerankRules,
    request: RankInput,
    prepared: Prepared,
    categories: Mapping[str, NDArray[np.integer]],
    scores: Scores,
    ranked: Order,
) -> Reranked:
    """Another order of the N candidates, ranked by score until now."""
    return reranker(
        rules,
        told=request.explain,
        ids=request.ids,
        order=ranked,
        valid=int(scores.valid.sum()),
        scores=scores.values,
        categories=categories,
        attributes={name: prepared.attributes[name] for name in rules.attributes},
    )
