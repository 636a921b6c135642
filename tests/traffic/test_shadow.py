"""The difference of two rankings is what an independent count says it is."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from service.fusion import Scores
from service.traffic.shadow import DEPTHS, Tally, difference

LISTS = st.integers(2, 80).flatmap(
    lambda rows: st.tuples(*[st.lists(st.integers(0, 40), min_size=rows, max_size=rows)] * 2)
)


def scores(values, invalid=()) -> Scores:
    found = np.array(values, np.float64)
    valid = np.ones(len(found), bool)
    valid[list(invalid)] = False
    return Scores(np.where(valid, found, np.nan), valid)


@given(LISTS)
def test_overlaps_and_tau_are_those_of_sorted_lists_and_scipy(lists):
    served, shadow = lists
    found = difference(scores(served), scores(shadow))
    best = sorted(range(len(served)), key=lambda row: -served[row])
    other = sorted(range(len(served)), key=lambda row: -shadow[row])
    for depth in DEPTHS:
        shown = min(depth, len(served))
        common = set(best[:shown]) & set(other[:shown])
        assert found.overlaps[depth] == len(common) / shown
    expected = kendalltau([served[r] for r in best[:50]], [shadow[r] for r in best[:50]]).statistic
    assert found.tau == pytest.approx(expected, nan_ok=True)


def test_invalid_candidates_come_last_and_are_counted():
    found = difference(scores([3, 2, 1]), scores([3, 2, 1], invalid=[0]))
    assert (found.candidates, found.invalid) == (3, 1)
    assert found.overlaps == {1: 0.0, 10: 1.0, 50: 1.0}
    assert found.tau == pytest.approx(-1 / 3)


def test_a_tally_gives_means_over_what_was_compared():
    tally = Tally()
    assert set(tally.means().values()) == {None}
    tally.add(difference(scores([2, 1]), scores([2, 1])))
    tally.add(difference(scores([2, 1]), scores([1, 2], invalid=[0])))
    tally.add(difference(scores([1]), scores([1])))  # one candidate has no order
    tally.results["busy"] += 1
    assert tally.results == {"compared": 3, "busy": 1}
    means = tally.means()
    assert means["overlap@1"] == pytest.approx(2 / 3)
    assert means["tau"] == 0.0
    assert means["invalid_share"] == pytest.approx(1 / 5)
    assert not math.isnan(tally.tau)
