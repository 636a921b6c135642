"""Columns of numbers -> float64."""

from typing import Any

import numpy as np

from service.contract.encode.columns import FLOAT32_MAX, Array, Column, Counts
from service.contract.errors import EncodeError

_PLAIN = {int, float, type(None)}


def numbers(
    name: str, column: Column | None, default: float, rows: int, counts: Counts | None = None
) -> Array:
    """A column of numbers as float64 (rows,); None, and NaN in a float array, take `default`.

    Raises:
        EncodeError: a boolean, a string, a non-finite number, or one that float32 cannot hold.
    """
    if column is None:
        if counts is not None:
            counts.defaulted[name] += rows
        return np.full(rows, default)
    values, absent = _read(name, column)
    if absent is not None and (found := int(absent.sum())):
        values[absent] = default
        if counts is not None:
            counts.defaulted[name] += found
    sane = np.abs(values) <= FLOAT32_MAX
    if not sane.all():
        row = int(np.argmin(sane))
        raise EncodeError(name, row, float(values[row]), "is not finite, or too large for float32")
    return values


def _read(name: str, column: Column) -> tuple[Array, Array | None]:
    """The numbers, and which rows are absent (None: no row)."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiu":
        values = column.astype(np.float64)
        return values, np.isnan(values)
    types = set(map(type, column))
    if not types <= _PLAIN:
        for row, value in enumerate(column):
            _require_number(name, row, value)
    try:
        values = np.array(column, np.float64)  # None becomes NaN
    except OverflowError:
        row = next(i for i, v in enumerate(column) if isinstance(v, int) and abs(v) > FLOAT32_MAX)
        raise EncodeError(name, row, column[row], "is too large for float32") from None
    if type(None) not in types:
        return values, None
    return values, np.array([value is None for value in column])


def _require_number(name: str, row: int, value: Any) -> None:
    if value is not None and (
        isinstance(value, bool | np.bool_)
        or not isinstance(value, int | float | np.integer | np.floating)
    ):
        raise EncodeError(name, row, value, "is not a number")
