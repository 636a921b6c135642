"""Read logged requests back one by one, with the stored records their items were scored from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.features.versions import NO_RECORD
from service.traffic.errors import FileGone
from service.traffic.layout import ATTRIBUTE, HEAD, INPUT, ITEMS, directory_of
from service.traffic.log_files import LogFile, open_file

_SIZE = 64  # requests read at once

Array = NDArray[Any]


@dataclass(frozen=True)
class Item:
    """One content of an item's stored record, and how it was encoded (None: not said)."""

    record: bytes | None
    blocks: Mapping[str, Array]


@dataclass(frozen=True)
class Logged:
    """A request as it was logged; the S scored candidates only.

    `versions`: which record each was scored from. `inputs`: encoded blocks, flat.
    """

    request_id: str
    user_id: str | None
    user: Mapping[str, Any]
    context: Mapping[str, Any]
    user_record: bytes | None
    item_columns: Mapping[str, Sequence[Any]]
    ids: Sequence[str]
    versions: NDArray[np.int64]
    heads: Mapping[str, NDArray[np.float32]]
    attributes: Mapping[str, NDArray[np.float64]]
    inputs: Mapping[str, Array]


class Items:
    """What the log says of the items of one scene and model."""

    def __init__(self, root: Path, scene: str, model: str) -> None:
        self._of: dict[tuple[str, int], Item] = {}
        for path in sorted(directory_of(root, scene, model).glob(f"{ITEMS}-*.parquet")):
            try:
                reader = open_file(path)
            except FileGone:
                continue  # what only that one tells of is counted by whoever asks for it
            for batch in reader.iter_batches():
                blocks = {
                    name.removeprefix(INPUT): _lists(batch.column(name))
                    for name in batch.schema.names
                    if name.startswith(INPUT)
                }
                columns = (batch.column(name).to_pylist() for name in ("id", "version", "record"))
                for row, (id_, version, record) in enumerate(zip(*columns, strict=True)):
                    found = _present({name: of[row] for name, of in blocks.items()})
                    if found or (id_, version) not in self._of:
                        self._of[id_, version] = Item(record, found)

    def find(self, id_: str, version: int) -> Item | None:
        """None when it is not in the log; an item without a record may need none."""
        found = self._of.get((id_, version))
        if found is None and version == NO_RECORD:
            return Item(None, {})
        return found


def read_logged(file: LogFile, last: int) -> Iterator[Logged]:
    """The last requests of a file of which something was scored.

    Raises:
        FileGone: it has been removed since it was listed.
    """
    skip = max(file.rows - last, 0)
    for batch in open_file(file.path).iter_batches(_SIZE):
        rows = batch.slice(min(skip, len(batch)))
        skip -= len(batch) - len(rows)
        plain = {
            name: rows.column(name).to_pylist()
            for name in ("request_id", "user_id", "user", "context", "user_record", "item_columns")
        }
        scored, ids = rows.column("scored").to_pylist(), rows.column("ids").to_pylist()
        lists = {
            name: _lists(rows.column(name))
            for name in rows.schema.names
            if name.startswith((HEAD, ATTRIBUTE, INPUT)) or name == "versions"
        }
        for row, count in enumerate(scored):
            if count:
                yield _logged({n: of[row] for n, of in plain.items()}, ids[row][:count], lists, row)


def _logged(
    plain: Mapping[str, Any], ids: list[str], lists: Mapping[str, list[Array | None]], row: int
) -> Logged:
    def starting(prefix: str) -> dict[str, Array]:
        return _present(
            {n.removeprefix(prefix): of[row] for n, of in lists.items() if n.startswith(prefix)}
        )

    columns = orjson.loads(plain["item_columns"] or "{}")
    versions = lists["versions"][row]
    return Logged(
        request_id=plain["request_id"],
        user_id=plain["user_id"],
        user=orjson.loads(plain["user"]),
        context=orjson.loads(plain["context"]),
        user_record=plain["user_record"],
        item_columns={name: values[: len(ids)] for name, values in columns.items()},
        ids=ids,
        versions=np.zeros(len(ids), np.int64) if versions is None else versions,
        heads=starting(HEAD),
        attributes=starting(ATTRIBUTE),
        inputs=starting(INPUT),
    )


def _present(found: Mapping[str, Array | None]) -> dict[str, Array]:
    return {name: values for name, values in found.items() if values is not None}


def _lists(column: Any) -> list[Array | None]:
    """One array a row, views of the column's memory."""
    values = column.flatten().to_numpy(zero_copy_only=False)
    lengths = column.value_lengths().fill_null(0).to_numpy()
    ends = np.cumsum(lengths).tolist()
    present = column.is_valid().to_pylist()
    return [
        values[end - length : end] if valid else None
        for end, length, valid in zip(ends, lengths.tolist(), present, strict=True)
    ]
