"""Kendall's tau-b of many pairs of score lists at once, by comparing every two candidates.

For lists of 100 that is 10,000 comparisons, done by NumPy for a block of requests together.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BLOCK = 1 << 20  # comparisons at once: they stay in the cache of a core


def tau_b(x: Floats, y: Floats) -> Floats:
    """(R,) tau-b of R pairs of lists (R, K); NaN in `y` ends a list early.

    tau-b = (C - D) / sqrt((n0 - ties in x) (n0 - ties in y)), C and D the pairs of candidates in
    the same and in the opposite order, n0 all pairs. NaN where one list has no order at all: fewer
    than two candidates, or all of them tied. -inf is a score like any other.
    """
    requests, width = x.shape
    # pads: no comparison with NaN is true
    x = np.where(np.isnan(y), np.nan, x)
    step = max(_BLOCK // max(width * width, 1), 1)
    parts = [
        _of_block(x[first : first + step], y[first : first + step])
        for first in range(0, requests, step)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _of_block(x: Floats, y: Floats) -> Floats:
    above_x = x[:, :, None] > x[:, None, :]
    above_y = y[:, :, None] > y[:, None, :]
    agree = _count(above_x & above_y)
    ordered_x, ordered_y = _count(above_x), _count(above_y)
    # of the pairs that both order, the others are opposed
    oppose = _count(above_x & above_y.transpose(0, 2, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((agree - oppose) / np.sqrt(ordered_x * ordered_y))


def _count(pairs: NDArray[np.bool_]) -> Floats:
    """How many pairs, for each request: far quicker row by row than along an axis."""
    return np.array([np.count_nonzero(row) for row in pairs], np.float64)
