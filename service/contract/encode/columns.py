"""What encoding reads and what it counts: columns of raw values, one value a row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.errors import EncodeError

Array = NDArray[Any]
Column = Sequence[Any] | Array  # one raw value per row; None is absent
Columns = Mapping[str, Column]

FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass
class Counts:
    """What encoding met, by name: values defaulted, out of vocabulary, and of no feature."""

    defaulted: Counter[str] = field(default_factory=Counter)
    out_of_vocabulary: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


def column_of(columns: Columns, name: str, rows: int) -> Column | None:
    """The column of a name, None when there is none.

    Raises:
        ValueError: its length is not `rows`.
    """
    column = columns.get(name)
    if column is not None and len(column) != rows:
        raise ValueError(f"feature {name!r} has {len(column)} values for {rows} rows")
    return column


def text_of(name: str, row: int, value: Any) -> str:
    """The text of a category.

    Raises:
        EncodeError: neither a string nor an integer.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    raise EncodeError(name, row, value, "is neither a string nor an integer")
