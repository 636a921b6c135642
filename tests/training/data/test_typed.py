"""training/data/typed.py."""

import math
from typing import Any

import polars as pl
import pytest

from training.data.config import FeatureColumn, LabelColumn
from training.data.errors import BadCell, DataError, MissingColumn
from training.data.tables import Source, Table
from training.data.typed import dates_of, days_of, ids_of, label_values, times_of, typed, with_ids


def table(values: Any, **schema: Any) -> Table:
    frame = pl.DataFrame({"x": pl.Series(values, **schema)})
    return Table(Source((("log.csv", len(frame)),)), frame)


def feature(kind: str, **changes: Any) -> FeatureColumn:
    document = {"name": "f", "column": "x", "side": "item", "kind": kind}
    return FeatureColumn.model_validate(document | changes)


@pytest.mark.parametrize("values", [["712", None], [712, None], [712.0, None], ["712.0", ""]])
def test_integers_are_their_decimal_text(values: Any) -> None:
    assert typed(table(values), feature("categorical")).to_list() == ["712", None]


def test_missing_markers_are_absent() -> None:
    column = typed(
        table(["-124", "UNKNOWN", "1"]), feature("categorical", missing=("-124", "UNKNOWN"))
    )
    assert column.to_list() == [None, None, "1"]
    column = typed(table([-124, 3]), feature("numeric", missing=("-124",)))
    assert column.to_list() == [None, 3.0]


def test_a_fraction_is_no_categorical_value() -> None:
    with pytest.raises(BadCell, match=r"log.csv, column 'x', row 1: '1.5' is no string or whole"):
        typed(table([1.0, 1.5]), feature("categorical"))


def test_a_text_is_no_number_and_says_where() -> None:
    with pytest.raises(BadCell, match=r"log.csv, column 'x', row 2: 'abc' is no number"):
        typed(table(["1", "", "abc"]), feature("numeric"))


def test_the_row_counts_from_the_start_of_its_own_file() -> None:
    two = Table(Source((("a.csv", 2), ("b.csv", 2))), pl.DataFrame({"x": ["1", "2", "3", "?"]}))
    with pytest.raises(BadCell, match=r"b.csv, column 'x', row 1"):
        typed(two, feature("numeric"))


def test_infinity_is_refused_and_nan_is_absent() -> None:
    with pytest.raises(BadCell, match=r"row 1: 'inf' is not finite"):
        typed(table([1.0, math.inf]), feature("numeric"))
    assert typed(table([1.0, math.nan]), feature("numeric")).to_list() == [1.0, None]


def test_numbers_are_scaled() -> None:
    assert typed(table(["49866"]), feature("numeric", scale=0.001)).to_list() == [49.866]


def test_a_bucket_is_the_number_of_edges_reached() -> None:
    column = typed(table([6.9, 7.0, 500.0, None]), feature("bucket", edges=(7.0, 18.0)))
    assert column.to_list() == ["0", "1", "2", None]


@pytest.mark.parametrize("values", [["a,b", "", None], [["a", "b"], [], None], ["a, b", ",", None]])
def test_lists_come_from_lists_or_separated_text(values: Any) -> None:
    assert typed(table(values), feature("multi")).to_list() == [["a", "b"], None, None]


def test_a_single_integer_is_a_list_of_one() -> None:
    assert typed(table([3, None]), feature("multi")).to_list() == [["3"], None]


def test_columns_of_another_type_are_refused() -> None:
    with pytest.raises(DataError, match=r"column 'x' holds List\(Int64\), not numbers"):
        typed(table([[1]]), feature("numeric"))
    with pytest.raises(DataError, match=r"column 'x' holds Float64, not lists or text"):
        typed(table([1.5]), feature("multi"))


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(MissingColumn, match=r"log.csv has no column 'y' \(it has: x\)"):
        typed(table(["1"]), feature("numeric", column="y"))


@pytest.mark.parametrize("values", [[20220501], ["20220501"], ["2022-05-01"]])
def test_days_are_numbers_or_iso_dates(values: Any) -> None:
    source = table(values).source
    assert days_of(pl.Series(values), source, "x").to_list() == [20220501]


def test_a_bad_day_is_refused() -> None:
    with pytest.raises(BadCell, match=r"row 0: '20221301' is no day: YYYYMMDD or YYYY-MM-DD is"):
        dates_of(pl.Series([20221301]), table([1]).source, "x")
    with pytest.raises(BadCell, match=r"row 0: an empty cell is no day"):
        days_of(pl.Series([None], dtype=pl.String), table([1]).source, "x")


@pytest.mark.parametrize(
    "values",
    [[1651363200], [1651363200000], ["1651363200"], ["2022-05-01T00:00:00"], ["2022-05-01 00:00"]],
)
def test_times_are_seconds_milliseconds_or_iso(values: Any) -> None:
    assert times_of(pl.Series(values), table(values).source, "x").to_list() == [1651363200000]


def test_a_bad_time_is_refused() -> None:
    with pytest.raises(BadCell, match=r"row 1: 'noon' is no time"):
        times_of(pl.Series(["1651363200", "noon"]), table([1, 2]).source, "x")


def test_labels_follow_their_rule_and_keep_what_is_undefined() -> None:
    numbers = table([0.0, 0.5, 3.0, None])
    assert label_values(numbers, LabelColumn(name="l", column="x", at_least=0.5)).tolist()[:3] == [
        0,
        1,
        1,
    ]
    clipped = label_values(numbers, LabelColumn(name="l", column="x", clip=(0.0, 1.0)))
    assert clipped[:3].tolist() == [0.0, 0.5, 1.0]
    assert math.isnan(clipped[3])
    text = label_values(table(["yes", "no", None]), LabelColumn(name="l", column="x", equals="yes"))
    assert text[:2].tolist() == [1.0, 0.0]
    assert math.isnan(text[2])


def test_ids_are_there_and_unique() -> None:
    with pytest.raises(BadCell, match=r"row 1: an empty cell is no id: it is missing"):
        ids_of(table(["a", None]), "x")
    with pytest.raises(BadCell, match=r"row 0: 'a' is there twice"):
        with_ids(table(["a", "b", "a"]), "x")
