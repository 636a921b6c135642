"""Candidates of many requests as matrices, one row a request, and their places by score."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """R requests of `counts` candidates in flat columns -> matrices (R, W), padded at the end."""

    counts: NDArray[np.int64]

    @cached_property
    def real(self) -> NDArray[np.bool_]:
        """(R, W): which places are no padding."""
        return np.arange(self.counts.max(initial=0)) < self.counts[:, None]

    @cached_property
    def _at(self) -> NDArray[np.int64]:
        starts = np.cumsum(self.counts) - self.counts
        at = starts[:, None] + np.arange(self.counts.max(initial=0))
        return np.asarray(np.minimum(at, max(int(self.counts.sum()) - 1, 0)))

    def matrix(self, flat: NDArray[Any], pad: Any) -> NDArray[Any]:
        """(R, W) of a flat column; `pad` where a request has no more candidates."""
        return np.where(self.real, flat[self._at], pad)


def order_of(scores: Floats) -> NDArray[np.intp]:
    """(R, W) columns by falling score, ties as they stand, NaN last."""
    return np.argsort(np.where(np.isnan(scores), np.inf, -scores), axis=1, kind="stable")


def places_of(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """(R, W) place of each column, 0 the best: `order` the other way round."""
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None, :], axis=1)
    return places
