"""Columns of lists, one list a row: numbers in one buffer, texts joined.

Rows come one by one and are copied at once, so that what they came from can be let go. Their memory
is used again for the next rows of a file: on many machines new memory costs more than what is
written to it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute
from numpy.typing import NDArray

_FIRST = 4096  # values that a buffer holds at first
_BETWEEN = "\0"


class Numbers:
    """Lists of numbers of one Arrow type; rows of which nobody tells are null."""

    def __init__(self, type_: arrow.DataType) -> None:
        self._values = np.empty(_FIRST, type_.to_pandas_dtype())
        self._rows: list[int] = []
        self._ends = [0]

    def add(self, row: int, values: NDArray[Any]) -> None:
        """The list of a row, one after the other; values of any shape are flat there."""
        start = self._ends[-1]
        end = self._make_room(values.size)
        self._values[start:end] = values if values.ndim == 1 else values.reshape(-1)
        self._rows.append(row)
        self._ends.append(end)

    def add_rows(self, first: int, values: NDArray[Any]) -> None:
        """(N, width): the lists of N rows."""
        rows, width = values.shape
        start = self._ends[-1]
        end = self._make_room(values.size)
        self._values[start:end] = values.reshape(-1)
        self._rows += range(first, first + rows)
        self._ends += range(start + width, end + 1, width) if width else [end] * rows

    def array(self, rows: int) -> arrow.ListArray:
        """Of `rows` rows; valid until `clear`."""
        values, missing = arrow.array(self._values[: self._ends[-1]]), None
        if len(self._rows) == rows:
            offsets = arrow.array(self._ends, arrow.int32())
        else:
            known, lengths = np.zeros(rows, bool), np.zeros(rows + 1, np.int32)
            known[self._rows] = True
            lengths[1:][known] = np.diff(self._ends)
            offsets, missing = arrow.array(np.cumsum(lengths, dtype=np.int32)), arrow.array(~known)
        return arrow.ListArray.from_arrays(offsets, values, mask=missing)

    def clear(self) -> None:
        self._rows, self._ends = [], [0]

    def _make_room(self, size: int) -> int:
        """Where so many more values end."""
        used = self._ends[-1]
        end = used + size
        if end > len(self._values):
            grown = np.empty(max(end, 2 * len(self._values)), self._values.dtype)
            grown[:used] = self._values[:used]
            self._values = grown
        return end


class Texts:
    """Lists of texts. Joined, they cost a third of one Arrow string after the other."""

    def __init__(self) -> None:
        self._joined: list[str] = []
        self._odd: dict[int, list[str]] = {}  # by row: lists that joined would not come apart

    def __len__(self) -> int:
        return len(self._joined)

    def add(self, texts: Sequence[str]) -> None:
        joined = _BETWEEN.join(texts)
        if joined.count(_BETWEEN) != len(texts) - 1:
            self._odd[len(self._joined)] = list(texts)
        self._joined.append(joined)

    def array(self) -> arrow.ListArray:
        if self._odd:
            rows = enumerate(text.split(_BETWEEN) for text in self._joined)
            return arrow.array(
                [self._odd.get(row, texts) for row, texts in rows], arrow.list_(arrow.string())
            )
        return compute.split_pattern(arrow.array(self._joined, arrow.string()), _BETWEEN)

    def clear(self) -> None:
        self._joined, self._odd = [], {}
