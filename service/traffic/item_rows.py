"""Stored records of items and their encodings -> rows, each content of an item once a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from service.features.versions import record_version
from service.traffic.layout import FORMAT, INPUT, METADATA
from service.traffic.request_rows import list_array

DICTIONARY: list[str] = []

_MOST_KNOWN = 100_000  # some 50 MB; whoever is forgotten is written again
_BLOCKS = {"item_ids": arrow.int32(), "item_values": arrow.float32()}


@dataclass
class ItemRows:
    """Rows that wait to be written, and which content of which item already has a row."""

    scene: str
    model: str
    # id -> record, version, whether its encoding has a row
    _known: dict[str, tuple[bytes | None, int, bool]] = field(default_factory=dict)
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
        found, fresh = [0] * len(ids), []
        known, encoded = self._known, blocks is not None
        for row, (id_, record) in enumerate(zip(ids, records, strict=True)):
            last = known.get(id_)
            if last is None or last[0] != record or (encoded and not last[2]):
                if record is None and not encoded:
                    continue
                version = record_version(record) if versions is None else int(versions[row])
                known[id_] = last = (record, version, encoded)
                fresh.append(row)
            found[row] = last[1]
        if fresh:
            self._ids += [ids[row] for row in fresh]
            self._versions += [found[row] for row in fresh]
            self._records += [records[row] for row in fresh]
            for name, column in self._blocks.items():
                block = None if blocks is None else blocks.get(name)
                column.extend([None] * len(fresh) if block is None else block[fresh])
        return np.array(found, np.int64)

    def forget(self) -> None:
        """Of what is known: the next file says it again."""
        self._known = {}

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
        if len(self._known) > _MOST_KNOWN:
            self.forget()
        table = arrow.table(columns)
        return table.replace_schema_metadata({METADATA: json.dumps(about).encode()})
