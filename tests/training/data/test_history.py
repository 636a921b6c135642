"""training/data/history.py."""

import math
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from training.data.history import Rates
from training.data.history_config import Outcome
from training.data.tables import DAY

CLICK = Outcome(label="click", prior=0.4, strength=10)
VCR = Outcome(label="vcr", prior=0.3, strength=5)


def slow_numbers(past: list[tuple[float, float]]) -> list[float]:
    numbers = []
    for at, outcome in enumerate((CLICK, VCR)):
        known = [row[at] for row in past if not math.isnan(row[at])]
        mean = (sum(known) + outcome.strength * outcome.prior) / (len(known) + outcome.strength)
        numbers.append(mean)
    return [*numbers, math.log1p(len(past))]


def labels_of(rows: list[Any]) -> dict[str, np.ndarray]:
    return {
        "click": np.array([row[-2] for row in rows], float),
        "vcr": np.array([row[-1] for row in rows], float),
    }


ROWS = st.lists(
    st.tuples(
        st.integers(20220428, 20220503),
        st.sampled_from(["a", "b", None]),
        st.lists(st.sampled_from("xyz"), max_size=3),
        st.sampled_from([0.0, 1.0]),
        st.sampled_from([0.0, 0.25, 1.0, math.nan]),
    ),
    min_size=1,
    max_size=30,
)


@given(ROWS)
def test_a_row_has_the_smoothed_means_of_its_key_on_earlier_days(rows: list[Any]) -> None:
    frame = pl.DataFrame(
        {DAY: [r[0] for r in rows], "k": [r[1] for r in rows]},
        schema={DAY: pl.Int32, "k": pl.String},
    )
    found = Rates(("k",), (CLICK, VCR)).of_rows(frame, labels_of(rows))
    for row, numbers in zip(rows, found, strict=True):
        past = [r[-2:] for r in rows if r[1] is not None and r[1] == row[1] and r[0] < row[0]]
        np.testing.assert_allclose(numbers, slow_numbers(past), atol=6e-6)


@given(ROWS)
def test_a_list_takes_the_mean_over_its_values_that_have_history(rows: list[Any]) -> None:
    frame = pl.DataFrame(
        {DAY: [r[0] for r in rows], "k": [r[1] for r in rows], "tag": [r[2] or None for r in rows]},
        schema={DAY: pl.Int32, "k": pl.String, "tag": pl.List(pl.String)},
    )
    rates = Rates(("k", "tag"), (CLICK, VCR))
    found = rates.of_rows(frame, labels_of(rows))
    for row, numbers in zip(rows, found, strict=True):
        entries = []
        for tag in row[2]:
            past = [
                r[-2:]
                for r in rows
                for t in r[2]
                if t == tag and r[1] is not None and r[1] == row[1] and r[0] < row[0]
            ]
            if past:
                entries.append(slow_numbers(past))
        expected = np.mean(entries, axis=0) if entries else rates.default
        np.testing.assert_allclose(numbers, expected, atol=6e-6)


@given(ROWS, st.integers(20220428, 20220504))
def test_what_is_written_for_a_day_equals_what_its_rows_have(rows: list[Any], day: int) -> None:
    frame = pl.DataFrame(
        {DAY: [r[0] for r in rows], "k": [r[1] for r in rows]},
        schema={DAY: pl.Int32, "k": pl.String},
    )
    rates = Rates(("k",), (CLICK, VCR))
    written = {
        key: numbers for key, *numbers in rates.as_of(frame, labels_of(rows), day).iter_rows()
    }
    found = rates.of_rows(frame, labels_of(rows))
    for row, numbers in zip(rows, found, strict=True):
        if row[0] == day:
            expected = np.array(written.get(row[1], rates.default), np.float32)
            assert numbers.tobytes() == expected.tobytes()


def test_a_key_without_history_has_the_default_exactly() -> None:
    frame = pl.DataFrame({DAY: [1, 1], "k": ["a", "a"]}, schema={DAY: pl.Int32, "k": pl.String})
    rates = Rates(("k",), (CLICK, VCR))
    found = rates.of_rows(frame, {"click": np.ones(2), "vcr": np.ones(2)})
    assert (found == np.array(rates.default, np.float32)).all()
    assert rates.columns == ("click_rate", "vcr_rate", "impressions")
    assert rates.default == (0.4, 0.3, 0.0)


def test_numbers_survive_json() -> None:
    frame = pl.DataFrame({DAY: [1] * 3, "k": ["a"] * 3}, schema={DAY: pl.Int32, "k": pl.String})
    rates = Rates(("k",), (CLICK, VCR))
    written = rates.as_of(frame, {"click": np.ones(3), "vcr": np.full(3, 1 / 3)}, 2)
    assert written.rows() == [("a", 0.53846, 0.3125, 1.38629)]
