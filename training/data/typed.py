"""Raw columns -> typed columns. A cell that does not fit is named by file, column and row."""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.config import FeatureColumn, LabelColumn
from training.data.errors import BadCell, DataError
from training.data.tables import ID, Source, Table


def typed(table: Table, feature: FeatureColumn) -> pl.Series:
    """The feature's values in the table's rows, under the feature's name; null is absent.

    `age_days` comes as the date it is counted from: the row's day is not known here.
    """
    raw = table.column(feature.source)
    return TYPES[feature.kind](raw, table.source, feature).alias(feature.name)


def categorical(raw: pl.Series, source: Source, column: str, missing: tuple[str, ...]) -> pl.Series:
    """Text; integers, whole floats and booleans by their decimal text (712 and 712.0 are "712")."""
    if raw.dtype == pl.Boolean:
        raw = raw.cast(pl.Int8)
    if raw.dtype.is_float():
        raw = raw.fill_nan(None)
        _refuse(raw, (raw != raw.round()), source, column, "is no string or whole number")
        raw = raw.cast(pl.Int64)
    if not raw.dtype.is_integer() and raw.dtype not in (pl.String, pl.Categorical, pl.Enum):
        raise DataError(
            f"{source}, column {column!r} holds {raw.dtype}, not strings or whole numbers"
        )
    return _blank(raw.cast(pl.String), missing)


def ids_of(table: Table, column: str) -> pl.Series:
    """An id column as text; no value may be missing."""
    ids = categorical(table.column(column), table.source, column, ())
    _refuse(ids, ids.is_null(), table.source, column, "is no id: it is missing")
    return ids


def with_ids(table: Table, id_column: str) -> Table:
    """A users or items table with its ids as @id.

    Raises:
        BadCell: an id that is missing or there twice.
    """
    ids = ids_of(table, id_column)
    _refuse(ids, ids.is_duplicated(), table.source, id_column, "is there twice")
    return Table(table.source, table.frame.with_columns(ids.alias(ID)))


def whole_text(values: pl.Series) -> pl.Series:
    """CSV cells of whole numbers written with a fraction ("4.0") -> "4"; other text unchanged."""
    return values.str.replace(r"^(-?\d+)\.0+$", "$1")


def numeric(
    raw: pl.Series, source: Source, column: str, missing: tuple[str, ...] = ()
) -> pl.Series:
    """Float64, finite or null."""
    if raw.dtype == pl.String:
        text = _blank(raw, missing)
        values = text.cast(pl.Float64, strict=False)
        _refuse(raw, values.is_null() & text.is_not_null(), source, column, "is no number")
    elif raw.dtype.is_numeric() or raw.dtype == pl.Boolean:
        values = raw.cast(pl.Float64)
        for marker in missing:
            values = values.set(values == float(marker), None)
    else:
        raise DataError(f"{source}, column {column!r} holds {raw.dtype}, not numbers")
    if raw.dtype.is_float():
        values = values.fill_nan(None)
    _refuse(raw, ~values.is_finite(), source, column, "is not finite")
    return values


def days_of(raw: pl.Series, source: Source, column: str) -> pl.Series:
    """Days as int32 YYYYMMDD, from such numbers, ISO dates or dates."""
    dates = dates_of(raw, source, column)
    _refuse(raw, dates.is_null(), source, column, "is no day: YYYYMMDD or YYYY-MM-DD is")
    return as_days(dates)


def as_days(dates: pl.Series) -> pl.Series:
    """Dates -> int32 YYYYMMDD."""
    years, months = dates.dt.year().cast(pl.Int32), dates.dt.month().cast(pl.Int32)
    return years * 10_000 + months * 100 + dates.dt.day().cast(pl.Int32)


def dates_of(raw: pl.Series, source: Source, column: str) -> pl.Series:
    """Dates; null where the cell is empty."""
    if raw.dtype == pl.Date:
        return raw
    if isinstance(raw.dtype, pl.Datetime):
        return raw.dt.date()
    text = categorical(raw, source, column, ())
    dates = text.str.strip_chars().str.replace_all("-", "").str.to_date("%Y%m%d", strict=False)
    _refuse(
        raw,
        dates.is_null() & text.is_not_null(),
        source,
        column,
        "is no day: YYYYMMDD or YYYY-MM-DD is",
    )
    return dates


def times_of(raw: pl.Series, source: Source, column: str) -> pl.Series:
    """Milliseconds since 1970 as int64, from seconds, milliseconds or ISO times."""
    if isinstance(raw.dtype, pl.Datetime):
        times = raw.dt.epoch("ms")
    else:
        number = pl.col("x").cast(pl.Float64, strict=False)
        # 1e11 s is the year 5138 and 1e11 ms is 1973: nothing that is logged lies between
        scaled = pl.when(number.abs() < 1e11).then(number * 1000).otherwise(number)
        times = raw.to_frame("x").select(scaled.cast(pl.Int64, strict=False)).to_series()
        if raw.dtype == pl.String and times.null_count():
            times = times.fill_null(_iso_times(raw))
    rule = "is no time: seconds, milliseconds or an ISO time is"
    _refuse(raw, times.is_null(), source, column, rule)
    return times


def _iso_times(text: pl.Series) -> pl.Series:
    plain = text.str.replace("T", " ").str.replace(r"Z$", "")
    formats = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S")
    times = pl.Series([None] * len(text), dtype=pl.Int64)
    for known in formats:
        parsed = plain.str.to_datetime(known, strict=False, time_unit="ms")
        times = times.fill_null(parsed.dt.epoch("ms"))
    return times


def label_values(table: Table, label: LabelColumn) -> NDArray[np.float64]:
    """(N,) float64 with NaN where the cell is empty; not yet cut to the label's space."""
    raw = table.column(label.source)
    if label.equals is not None:
        text = whole_text(categorical(raw, table.source, label.source, ()))
        if label.otherwise:
            known = (label.equals, *label.otherwise)
            rule = f"is no value of the label {label.name!r} (known: {', '.join(known)})"
            _refuse(raw, ~text.is_in(known), table.source, label.source, rule)
        return (text == label.equals).cast(pl.Float64).to_numpy().copy()
    if raw.dtype.is_float():
        rule = f"is no value of the label {label.name!r}: leave undefined cells empty"
        _refuse(raw, raw.is_nan(), table.source, label.source, rule)
    values = numeric(raw, table.source, label.source).fill_null(np.nan).to_numpy().copy()
    if label.at_least is not None:
        return np.where(np.isnan(values), np.nan, values >= label.at_least)
    return values if label.clip is None else np.clip(values, *label.clip)


def _categorical(raw: pl.Series, source: Source, feature: FeatureColumn) -> pl.Series:
    values = categorical(raw, source, feature.source, feature.missing)
    return whole_text(values) if raw.dtype == pl.String else values


def _numeric(raw: pl.Series, source: Source, feature: FeatureColumn) -> pl.Series:
    values = numeric(raw, source, feature.source, feature.missing)
    return values if feature.scale == 1.0 else (values * feature.scale).round(6)


def _bucket(raw: pl.Series, source: Source, feature: FeatureColumn) -> pl.Series:
    values = _numeric(raw, source, feature)
    edges = np.array(feature.edges)
    cut = pl.Series(np.searchsorted(edges, values.fill_null(0.0).to_numpy(), side="right"))
    return cut.cast(pl.String).set(values.is_null(), None)


def _list(raw: pl.Series, source: Source, feature: FeatureColumn) -> pl.Series:
    if raw.dtype == pl.String:
        text = _blank(raw, feature.missing)
        lists = text.str.split(feature.separator).list.eval(pl.element().str.strip_chars())
    elif isinstance(raw.dtype, pl.List):
        lists = raw.cast(pl.List(pl.String))
    elif raw.dtype.is_integer():
        lists = raw.cast(pl.String).to_frame("x").select(pl.concat_list("x")).to_series()
        lists = lists.set(raw.is_null(), None)
    else:
        raise DataError(f"{source}, column {feature.source!r} holds {raw.dtype}, not lists or text")
    cleaned = lists.list.eval(
        pl.element().filter(pl.element().is_not_null() & (pl.element() != ""))
    )
    return (
        cleaned.to_frame("x")
        .select(pl.when(pl.col("x").list.len() > 0).then(pl.col("x")))
        .to_series()
    )


def _date(raw: pl.Series, source: Source, feature: FeatureColumn) -> pl.Series:
    return dates_of(
        _blank(raw, feature.missing) if raw.dtype == pl.String else raw, source, feature.source
    )


TYPES: dict[str, Callable[[pl.Series, Source, FeatureColumn], pl.Series]] = {
    "categorical": _categorical,
    "numeric": _numeric,
    "bucket": _bucket,
    "multi": _list,
    "sequence": _list,
    "age_days": _date,
}


def _blank(text: pl.Series, missing: tuple[str, ...]) -> pl.Series:
    return (
        text.to_frame("x")
        .select(pl.when(~pl.col("x").is_in(["", *missing])).then(pl.col("x")))
        .to_series()
    )


def _refuse(raw: pl.Series, wrong: pl.Series, source: Source, column: str, rule: str) -> None:
    wrong = wrong.fill_null(value=False)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        file, row_there = source.place(row)
        raise BadCell(file, column, row_there, raw[row], rule)
