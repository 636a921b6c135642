"""The parts of a published split as days: data sets that come as a train and a test file."""

import numpy as np
import polars as pl

TRAIN, VALIDATION, TEST = 1, 2, 3
_SEED = 0


def days_of_parts(trained: int, tested: int) -> pl.Series:
    """The train file's rows are day 1; those of the test file are cut 1:1 into days 2 and 3.

    Which half a test row falls into is drawn once for all, by its row number.
    """
    drawn = np.random.default_rng(_SEED).permutation(tested)
    halves = np.where(drawn < tested // 2, VALIDATION, TEST)
    return pl.Series(np.concatenate([np.full(trained, TRAIN), halves]).astype(np.int32))
