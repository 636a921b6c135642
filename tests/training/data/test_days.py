"""training/data/days.py."""

import numpy as np
import pytest

from training.data.days import Days
from training.data.errors import DataError


def test_a_range_holds_both_its_ends() -> None:
    days = np.array([20220430, 20220501, 20220502, 20220503], np.int32)
    assert Days.parse("20220501:20220502").contains(days).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        (":20220503", 0, 20220503),
        ("20220504:", 20220504, 99_999_999),
        (20220501, 20220501, 20220501),
    ],
)
def test_open_and_single_ranges(text: str, first: int, last: int) -> None:
    assert Days.parse(text) == Days(first, last)


@pytest.mark.parametrize("text", ["20220425:20220503", ":20220503", "20220504:"])
def test_a_range_prints_as_it_was_written(text: str) -> None:
    assert str(Days.parse(text)) == text


@pytest.mark.parametrize("text", ["", ":", "2022-05-01", "a:b"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=f"days {text!r} are not FIRST:LAST"):
        Days.parse(text)


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(DataError, match="days 3:2 end before they begin"):
        Days.parse("3:2")
