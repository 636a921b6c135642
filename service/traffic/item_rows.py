"""Stored records of items and their encodings -> rows, each content of an item once a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from service.features.versions import record_version
from service.traffic.layout import FORMAT, INPUT, METADATA
from service.traffic.list_columns import Numbers

DICTIONARY: list[str] = []

_UNKNOWN: Any = (object(), 0)
_MOST_KNOWN = 100_000  # some 50 MB; whoever is forgotten is written again
_BLOCKS = {"item_ids": arrow.int32(), "item_values": arrow.float32()}


@dataclass
class ItemRows:
    """Rows that wait to be written, and which content of which item already has a row."""

    scene: str
    model: str
    # by id, of the last row: the record and its version; ids whose row has no encoding
    _known: dict[str, tuple[bytes | None, int]] = field(default_factory=dict)
    _bare: set[str] = field(default_factory=set)
    _ids: list[str] = field(default_factory=list)
    _versions: list[int] = field(default_factory=list)
    _records: list[bytes | None] = field(default_factory=list)
    _blocks: dict[str, Numbers] = field(
        default_factory=lambda: {name: Numbers(type_) for name, type_ in _BLOCKS.items()}
    )

    def __len__(self) -> int:
        return len(self._ids)

    def versions(
        self,
        ids: Sequence[str],
        records: Sequence[bytes | None],
        blocks: Mapping[str, NDArray[Any]] | None,
        versions: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """The versions of N records; those without a row get one.

        Without `blocks` (the request brought values of its own) a row has no encoding.
        """
        found: list[Any] = list(map(self._known.get, ids, repeat(_UNKNOWN)))
        fresh: list[int] = []
        if (known := [record for record, _ in found]) != records:
            pairs = enumerate(zip(known, records, strict=True))
            fresh = [row for row, (before, now) in pairs if before != now]
        if self._bare and blocks is not None:
            fresh = sorted({*fresh, *(row for row, id_ in enumerate(ids) if id_ in self._bare)})
        if fresh:
            self._take(fresh, ids, records, blocks, versions)
            found = list(map(self._known.__getitem__, ids))
        return np.array([version for _, version in found], np.int64)

    def _take(
        self,
        fresh: list[int],
        ids: Sequence[str],
        records: Sequence[bytes | None],
        blocks: Mapping[str, NDArray[Any]] | None,
        versions: NDArray[np.int64] | None,
    ) -> None:
        for row in fresh:
            id_, record = ids[row], records[row]
            version = record_version(record) if versions is None else int(versions[row])
            self._known[id_] = record, version
            (self._bare.add if blocks is None else self._bare.discard)(id_)
        for name, column in self._blocks.items():
            if blocks is not None and name in blocks:
                column.add_rows(len(self), blocks[name][fresh])
        self._ids += [ids[row] for row in fresh]
        self._versions += [self._known[ids[row]][1] for row in fresh]
        self._records += [records[row] for row in fresh]

    def forget(self) -> None:
        """Of what is known: the next file says it again."""
        self._known, self._bare = {}, set()

    def table(self) -> arrow.Table:
        """The waiting rows; the table is valid until `clear`."""
        about = {"format": FORMAT, "scene": self.scene, "model": self.model}
        columns = {
            "id": arrow.array(self._ids, arrow.string()),
            "version": arrow.array(self._versions, arrow.int64()),
            "record": arrow.array(self._records, arrow.binary()),
        }
        columns |= {INPUT + name: column.array(len(self)) for name, column in self._blocks.items()}
        table = arrow.table(columns)
        return table.replace_schema_metadata({METADATA: json.dumps(about).encode()})

    def clear(self) -> None:
        """Let the waiting rows go."""
        self._ids, self._versions, self._records = [], [], []
        for column in self._blocks.values():
            column.clear()
        if len(self._known) > _MOST_KNOWN:
            self.forget()
