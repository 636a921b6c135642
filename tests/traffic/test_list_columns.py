"""Columns of lists hold what was added, whatever the texts hold, and hold it anew after `clear`."""

import numpy as np
import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.traffic.list_columns import Numbers, Texts

LISTS = st.lists(st.none() | st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40), max_size=30)


@given(groups=st.lists(LISTS, min_size=1, max_size=4))
def test_numbers_are_what_was_added_and_null_where_nothing_was(groups):
    column = Numbers(arrow.int32())
    for rows in groups:  # the same memory each time
        for row, values in enumerate(rows):
            if values is not None:
                column.add(row, np.array(values, np.int64))
        assert column.array(len(rows)).to_pylist() == rows
        column.clear()


@given(before=st.integers(0, 3), rows=st.integers(0, 9), width=st.integers(0, 4))
def test_many_rows_at_once_are_each_a_list(before, rows, width):
    column = Numbers(arrow.float32())
    values = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
    column.add_rows(before, values)
    column.add(before + rows, values)
    expected = [None] * before + values.tolist() + [values.reshape(-1).tolist()]
    assert column.array(before + rows + 1).to_pylist() == expected


def test_numbers_that_outgrow_their_memory_keep_their_bits():
    column, values = Numbers(arrow.float64()), np.random.default_rng(0).normal(size=(7, 3_000))
    for row, one in enumerate(values):
        column.add(row, one)
    assert column.array(7).flatten().to_numpy().tobytes() == values.tobytes()


@given(groups=st.lists(st.lists(st.lists(st.text()))))
def test_texts_are_what_was_added(groups):
    column = Texts()
    for rows in groups:
        for texts in rows:
            column.add(texts)
        assert column.array().type == arrow.list_(arrow.string())
        assert column.array().to_pylist() == rows
        column.clear()


@pytest.mark.parametrize("odd", [["a\0b"], [], ["\0", "\0"], ["a\0", "b"], [""]])
def test_texts_that_do_not_come_apart_when_joined_are_kept_whole(odd):
    column = Texts()
    rows = [["x", "ü"], odd, ["y"]]
    for texts in rows:
        column.add(texts)
    assert column.array().to_pylist() == rows
