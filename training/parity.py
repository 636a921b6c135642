"""How far two ways to compute a head are from each other."""

import numpy as np
from numpy.typing import NDArray


def largest_difference(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Largest |difference| of (N,) values; of values beyond 1 (watch seconds) as a share of them,
    because that is what float32 keeps. NaN where either is no number.
    """
    truth = expected.astype(np.float64)
    return float((np.abs(found - truth) / np.maximum(1, np.abs(truth))).max())
