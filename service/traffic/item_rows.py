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
from service.traffic.request_rows import list_array

DICTIONARY: list[str] = []

_UNKNOWN: Any = object()
_MOST_KNOWN = 100_000  # some 50 MB; whoever is forgotten is written again
_BLOCKS = {"item_ids": arrow.int32(), "item_values": arrow.float32()}


@dataclass
class ItemRows:
    """Rows that wait to be written, and which content of which item already has a row."""

    scene: str
    model: str
    # by id, of the last row: the record, its version; ids whose row has no encoding
    _record_of: dict[str, bytes | None] = field(default_factory=dict)
    _version_of: dict[str, int] = field(default_factory=dict)
    _bare: set[str] = field(default_factory=set)
    _ids: list[str] = field(default_factory=list)
    _versions: list[int] = field(default_factory=list)
    _records: list[bytes | None] = field(default_factory=list)
    _blocks: dict[str, list[NDArray[Any] | None]] = field(
        default_factory=lambda: {name: [] for name in _BLOCKS}
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
        known = map(self._record_of.get, ids, repeat(_UNKNOWN))
        pairs = enumerate(zip(known, records, strict=True))
        fresh = [row for row, (before, now) in pairs if before != now]
        if self._bare and blocks is not None:
            fresh = sorted({*fresh, *(row for row, id_ in enumerate(ids) if id_ in self._bare)})
        if fresh:
            self._take(fresh, ids, records, blocks, versions)
        return np.fromiter(map(self._version_of.__getitem__, ids), np.int64, len(ids))

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
            self._record_of[id_], self._version_of[id_] = record, version
            (self._bare.add if blocks is None else self._bare.discard)(id_)
        self._ids += [ids[row] for row in fresh]
        self._versions += [self._version_of[ids[row]] for row in fresh]
        self._records += [records[row] for row in fresh]
        for name, column in self._blocks.items():
            block = None if blocks is None else blocks.get(name)
            column.extend([None] * len(fresh) if block is None else block[fresh])

    def forget(self) -> None:
        """Of what is known: the next file says it again."""
        self._record_of, self._version_of, self._bare = {}, {}, set()

    def table(self) -> arrow.Table:
        """The waiting rows; they wait no longer."""
        about = {"format": FORMAT, "scene": self.scene, "model": self.model}
        columns = {
            "id": arrow.array(self._ids, arrow.string()),
            "version": arrow.array(self._versions, arrow.int64()),
            "record": arrow.array(self._records, arrow.binary()),
        }
        for name, type_ in _BLOCKS.items():
            columns[INPUT + name] = list_array(self._blocks[name], type_)
            self._blocks[name] = []
        self._ids, self._versions, self._records = [], [], []
        if len(self._record_of) > _MOST_KNOWN:
            self.forget()
        table = arrow.table(columns)
        return table.replace_schema_metadata({METADATA: json.dumps(about).encode()})
