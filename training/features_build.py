"""Write the user and item records that serving needs on a day: the numbers training would see."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.errors import DataError
from training.data.log import Reader, Record

_BATCH = 5_000


def build(reader: Reader, directory: Path, *, as_of: int, users: Path, items: Path) -> None:
    """Write all users and all items as a row of day `as_of` (YYYYMMDD) would see them.

    `.jsonl` holds one object a line, `{"id": …, feature: …}`; `.parquet` one column a feature, with
    the maps that lookups read as Arrow maps. A file appears when it is complete.

    Raises:
        DataError: another suffix, or a log that cannot be read.
    """
    writers = [_writer(path) for path in (users, items)]
    sides = reader.records(directory, as_of)
    for path, write, records in zip((users, items), writers, sides, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            write(unfinished, records)
            unfinished.replace(path)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()


def _writer(path: Path) -> Callable[[Path, Iterator[Record]], None]:
    if path.suffix not in WRITERS:
        raise DataError(f"{path}: cannot write {path.suffix!r} (known: {', '.join(WRITERS)})")
    return WRITERS[path.suffix]


def _write_jsonl(path: Path, records: Iterator[Record]) -> None:
    with path.open("wb") as file:
        for record in records:
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def _write_parquet(path: Path, records: Iterator[Record]) -> None:
    rows = list(records)
    names = dict.fromkeys(name for row in rows for name in row)
    schema = pa.schema([pa.field(name, _arrow_type(name, rows)) for name in names])
    with pq.ParquetWriter(path, schema) as writer:
        batches = iter(rows)
        while batch := list(islice(batches, _BATCH)):
            writer.write_table(pa.Table.from_pylist([_arrow(row) for row in batch], schema))


def _arrow_type(name: str, rows: list[Record]) -> pa.DataType:
    value = next(row[name] for row in rows if row.get(name) is not None)
    match value:
        case str():
            return pa.string()
        case float() | int():
            return pa.float64()
        case list():
            return pa.list_(pa.string())
        case dict():
            return pa.map_(pa.string(), pa.list_(pa.float64()))
    raise DataError(f"{name}: {value!r} has no place in a Parquet file")


def _arrow(row: Record) -> dict[str, Any]:
    return {n: list(v.items()) if isinstance(v, dict) else v for n, v in row.items()}


WRITERS: dict[str, Callable[[Path, Iterator[Record]], None]] = {
    ".jsonl": _write_jsonl,
    ".ndjson": _write_jsonl,
    ".parquet": _write_parquet,
}
