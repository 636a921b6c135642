"""training/data/recent.py."""

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from training.data import recent
from training.data.tables import DAY, ITEM, ORDER, ROW, USER

ROWS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from("uv"), st.sampled_from("abc"), st.booleans()),
    min_size=1,
    max_size=20,
)


def frame_of(rows: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            ROW: range(len(rows)),
            DAY: [r[0] for r in rows],
            USER: [r[1] for r in rows],
            ITEM: [r[2] for r in rows],
            ORDER: range(len(rows)),
        }
    )


@given(ROWS, st.integers(1, 3))
def test_the_last_items_of_earlier_days_newest_first(rows: list[Any], length: int) -> None:
    found = recent.of_rows(frame_of(rows), length)
    for row, items in zip(rows, found, strict=True):
        past = sorted(
            ((r[0], at, r[2]) for at, r in enumerate(rows) if r[1] == row[1] and r[0] < row[0]),
            reverse=True,
        )
        assert items == [item for *_, item in past][:length]


@given(ROWS, st.integers(1, 4))
def test_what_is_written_for_a_day_equals_what_its_rows_have(rows: list[Any], day: int) -> None:
    frame = frame_of(rows)
    where = np.array([r[3] for r in rows])
    written = recent.as_of(frame, day, 3, where)
    for row, items in zip(rows, recent.of_rows(frame, 3, where), strict=True):
        if row[0] == day:
            assert written.get(row[1], []) == items


def test_only_the_impressions_asked_for_count() -> None:
    frame = frame_of([(1, "u", "a", 0), (1, "u", "b", 0), (2, "u", "c", 0)])
    found = recent.of_rows(frame, 5, np.array([True, False, True]))
    assert found.tolist() == [[], [], ["a"]]
