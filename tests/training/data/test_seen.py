"""training/data/seen.py: pieces of a log add up to the whole."""

import numpy as np
import polars as pl
import pytest

from training.data.seen import Numbers, Seen


def test_the_numbers_of_pieces_are_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    values[::7] = np.nan
    whole = Numbers.of(values)
    pieces = Numbers.of(values[:100]).plus(Numbers.of(values[100:3000]))
    pieces = pieces.plus(Numbers.of(values[3000:]))
    np.testing.assert_array_equal(pieces.sample, whole.sample)
    assert (pieces.least, pieces.most) == (whole.least, whole.most)


def test_a_long_log_keeps_an_even_sample_and_the_exact_range() -> None:
    values = np.random.default_rng(1).exponential(size=700_000)
    found = Numbers.of(values[:50_000])
    for at in range(50_000, 700_000, 50_000):
        found = found.plus(Numbers.of(values[at : at + 50_000]))
    assert len(found.sample) <= 100_000
    assert found.step == 8
    assert np.median(found.sample) == pytest.approx(np.median(values), rel=0.01)
    assert np.quantile(found.sample, 0.99) == pytest.approx(np.quantile(values, 0.99), rel=0.03)
    assert (found.least, found.most) == (values.min(), values.max())


def test_a_piece_without_a_value_changes_nothing() -> None:
    some, none = Numbers.of(np.array([3.0, 1.0])), Numbers.of(np.array([np.nan]))
    for found in (some.plus(none), none.plus(some)):
        assert found.sample.tolist() == [1, 3]
        assert (found.least, found.most) == (1, 3)


def test_ids_are_counted_over_all_pieces() -> None:
    first = Seen({"tag": pl.DataFrame({"value": ["a", "b"], "count": [2, 1]})}, {})
    second = Seen({"tag": pl.DataFrame({"value": ["b", "c"], "count": [5, 1]})}, {})
    counts = first.plus(second).counts["tag"].sort("value")
    assert counts.rows() == [("a", 2), ("b", 6), ("c", 1)]
