"""The log as training sees it: one row an impression, raw values by side, labels and spaces."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.contract.features import FeatureSchema, Side
from training.data.days import Days
from training.data.tables import Source

Record = dict[str, Any]  # {"id": ..., feature: raw value, map: {key: [numbers]}}


@dataclass(frozen=True)
class Origin:
    """The files that a log was read from, and the column that each label was read from."""

    source: Source | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def place(self, label: str, row: int) -> str:
        """Where the label of a row of the log stands: file, column and row there."""
        file, row_there = self._place(row)
        return f"{file}column {self.columns.get(label, label)!r}, row {row_there}"

    def row(self, row: int) -> str:
        """Where a row of the log stands: file and row there."""
        file, row_there = self._place(row)
        return f"{file}row {row_there}"

    def _place(self, row: int) -> tuple[str, int]:
        if self.source is None:
            return "", row
        file, row_there = self.source.whole.place(row)  # the log's rows, not the frame's
        return f"{file}, ", row_there

    def column(self, label: str) -> str:
        """The files and the column that a label stands in."""
        column = f"column {self.columns.get(label, label)!r}"
        return column if self.source is None else f"{self.source}, {column}"


@dataclass(frozen=True, eq=False)
class Log:
    """N impressions. Columns hold raw values as `encode_rows` takes them; NaN and None are absent.

    Lookups are joined already: (N, width) float32 under the feature's own name. `labels` are
    float32 with NaN where a label is undefined; `spaces` always has `impression`, true everywhere.
    """

    row: NDArray[np.int64]  # 0-based row of the log as read, before any filter
    day: NDArray[np.int32]  # YYYYMMDD
    user_id: NDArray[np.object_]
    item_id: NDArray[np.object_]
    columns: Mapping[Side, Mapping[str, NDArray[Any]]]
    labels: Mapping[str, NDArray[np.float32]]
    spaces: Mapping[str, NDArray[np.bool_]]
    origin: Origin = Origin()

    @property
    def rows(self) -> int:
        return len(self.row)

    def of(self, days: Days) -> "Log":
        """The impressions of those days, in the same order."""
        return self.take(np.flatnonzero(days.contains(self.day)))

    @classmethod
    def of_pieces(cls, pieces: Sequence["Log"]) -> "Log":
        """One log of its pieces, of which there is at least one."""

        def joined(arrays: Iterable[NDArray[Any]]) -> NDArray[Any]:
            return np.concatenate(list(arrays))

        first = pieces[0]
        return replace(
            first,
            row=joined(p.row for p in pieces),
            day=joined(p.day for p in pieces),
            user_id=joined(p.user_id for p in pieces),
            item_id=joined(p.item_id for p in pieces),
            columns={
                side: {name: joined(p.columns[side][name] for p in pieces) for name in columns}
                for side, columns in first.columns.items()
            },
            labels={name: joined(p.labels[name] for p in pieces) for name in first.labels},
            spaces={name: joined(p.spaces[name] for p in pieces) for name in first.spaces},
            origin=replace(first.origin, source=first.origin.source and first.origin.source.whole),
        )

    def take(self, index: NDArray[np.int64]) -> "Log":
        """The impressions at these positions."""
        return replace(
            self,
            row=self.row[index],
            day=self.day[index],
            user_id=self.user_id[index],
            item_id=self.item_id[index],
            columns={
                side: {name: column[index] for name, column in columns.items()}
                for side, columns in self.columns.items()
            },
            labels={name: label[index] for name, label in self.labels.items()},
            spaces={name: space[index] for name, space in self.spaces.items()},
        )


class Reader(Protocol):
    """One kind of log. What it returns depends on nothing but the files and its configuration."""

    def read(self, directory: Path, days: Days | None = None) -> Log:
        """The impressions of `days` (None: all), with history from all earlier days there are."""
        ...

    def features(self, log: Log) -> FeatureSchema:
        """The schema: vocabularies, defaults and ranges from these (training) rows only."""
        ...

    def records(self, directory: Path, as_of: int) -> tuple[Iterator[Record], Iterator[Record]]:
        """Serving records of all users and of all items, as a row of day `as_of` would see them."""
        ...
