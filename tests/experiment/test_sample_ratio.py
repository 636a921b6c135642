"""The sample-ratio check is Pearson's χ² against the planned shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare

from service.experiment.sample_ratio import chi_square_tail, sample_ratio


@given(st.floats(0, 500), st.integers(1, 40))
def test_the_tail_is_that_of_the_chi_square_distribution(statistic: float, degrees: int):
    expected = chi2.sf(statistic, degrees)
    assert chi_square_tail(statistic, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_a_huge_statistic_has_no_chance():
    assert chi_square_tail(1e9, 3) == 0.0


@given(st.lists(st.tuples(st.integers(50, 5000), st.integers(1, 100)), min_size=2, max_size=6))
def test_it_is_the_test_of_scipy(arms: list[tuple[int, int]]):
    units, sizes = map(list, zip(*arms, strict=True))
    expected = np.array(sizes) / sum(sizes) * sum(units)
    found = sample_ratio(units, sizes)
    np.testing.assert_allclose(found.expected, expected)
    if expected.min() >= 5:
        theirs = chisquare(units, expected)
        assert found.statistic == pytest.approx(theirs.statistic)
        assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)
    else:
        assert found.verdict == "too few units"


@pytest.mark.parametrize(
    ("units", "sizes", "verdict"),
    [
        ([5000, 5000], [1, 1], "as planned"),
        ([5000, 4500], [1, 1], "mismatch"),
        ([9010, 990], [9, 1], "as planned"),
        ([4, 4], [1, 1], "too few units"),
        ([100, 0], [1, 0], "too few units"),  # one arm alone
        ([5000, 5010, 0], [1, 1, 0], "as planned"),
        ([], [], "too few units"),
    ],
)
def test_verdicts(units: list[int], sizes: list[int], verdict: str):
    assert sample_ratio(units, sizes).verdict == verdict
