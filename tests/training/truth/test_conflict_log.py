"""The log of two conflicting tasks: as probable as it says, and nothing in common between them."""

import numpy as np
import pytest

from training.truth.conflict_log import FEATURES, conflict_log, probabilities


def test_labels_come_as_often_as_the_probabilities_say():
    log = conflict_log({1: 20_000}, seed=3)
    x = log.select(f"x{n}" for n in range(FEATURES)).to_numpy().astype(np.float64)
    rates = probabilities(x)
    for at, name in enumerate(("a", "b")):
        label = log[name].to_numpy()
        for low, high in ((0, 0.1), (0.4, 0.6), (0.9, 1)):
            inside = (rates[:, at] >= low) & (rates[:, at] <= high)
            assert label[inside].mean() == pytest.approx(rates[inside, at].mean(), abs=0.03)


def test_one_task_says_nothing_about_the_other():
    rates = probabilities(np.random.default_rng(0).normal(size=(50_000, FEATURES)))
    assert np.corrcoef(rates.T)[0, 1] == pytest.approx(0, abs=0.02)


def test_days_hold_the_rows_they_are_given_and_a_seed_repeats_itself():
    log = conflict_log({1: 30, 3: 20}, seed=1)
    assert log["day"].value_counts(sort=True).rows() == [(20260101, 30), (20260103, 20)]
    assert log.equals(conflict_log({1: 30, 3: 20}, seed=1))
    assert not log.equals(conflict_log({1: 30, 3: 20}, seed=2))
