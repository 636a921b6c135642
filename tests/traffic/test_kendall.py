import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau

from service.traffic.kendall import tau_b

values = st.sampled_from([-np.inf, -1.0, 0.0, 0.25, 1.0, 3.0])


@given(st.integers(2, 30).flatmap(lambda n: arrays(float, (3, 2, n), elements=values)))
def test_it_is_scipys_tau_b_ties_and_all(lists):
    found = tau_b(lists[:, 0], lists[:, 1])
    for (x, y), tau in zip(lists, found, strict=True):
        # SciPy takes no infinities for scores: the lowest rank is as good
        expected = kendalltau(np.maximum(x, -9), np.maximum(y, -9)).statistic
        assert tau == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_list_ends_where_its_second_scores_are_none():
    x = np.array([[3.0, 2.0, 1.0, 9.0]])
    assert tau_b(x, np.array([[1.0, 2.0, 3.0, np.nan]])) == [-1]


def test_many_blocks_give_what_one_gives():
    random = np.random.default_rng(0)
    x, y = random.random((2, 300, 100))
    assert (
        tau_b(x, y) == np.concatenate([tau_b(x[r : r + 1], y[r : r + 1]) for r in range(300)])
    ).all()


def test_one_candidate_has_no_order():
    assert np.isnan(tau_b(np.ones((1, 1)), np.ones((1, 1))))


def test_of_no_requests_there_are_none():
    assert len(tau_b(np.zeros((0, 5)), np.zeros((0, 5)))) == 0
