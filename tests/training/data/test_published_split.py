"""training/data/published_split.py: the same halves for everyone."""

import numpy as np

from training.data.published_split import days_of_parts


def test_the_train_rows_come_first_and_the_test_rows_are_halved() -> None:
    days = days_of_parts(5, 9).to_numpy()
    assert days.dtype == np.int32
    assert days[:5].tolist() == [1] * 5
    assert sorted(days[5:].tolist()) == [2] * 4 + [3] * 5


def test_the_halves_are_mixed_and_always_the_same() -> None:
    halves = days_of_parts(0, 1000).to_numpy()
    assert days_of_parts(7, 1000).to_numpy()[7:].tolist() == halves.tolist()
    assert 400 < np.count_nonzero(np.diff(halves)) < 600
