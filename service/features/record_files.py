"""Read user or item records from JSONL, CSV or Parquet, each with its place in the file."""

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from service.features.errors import LoadError


@dataclass(frozen=True)
class Row:
    """One record. `place` is "file:line"; `position` is where it ends, in the unit of `total`."""

    place: str
    position: int
    id: str
    values: dict[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that is no record, and why, as a sentence that begins with its place."""

    position: int
    why: str


@dataclass(frozen=True)
class RecordFile:
    """A file of records. `total` is its length in bytes, or in rows for Parquet."""

    path: Path
    total: int
    rows: Callable[[], Iterator[Row | BadRow]]


def open_records(path: Path, id_column: str = "id") -> RecordFile:
    """Open by suffix: .jsonl, .ndjson, .csv, .parquet. A record's id is in `id_column`.

    JSONL holds one object a line, its features beside the id or under "features". CSV values that
    read as JSON numbers, lists or objects are taken as such; an empty one is absent.

    Raises:
        LoadError: no such file, another suffix, no id column, or a reader that is not installed.
    """
    readers = {".jsonl": _open_jsonl, ".ndjson": _open_jsonl, ".csv": _open_csv}
    readers[".parquet"] = _open_parquet
    if path.suffix not in readers:
        raise LoadError(f"{path}: cannot read {path.suffix!r} (known: {', '.join(readers)})")
    if not path.is_file():
        raise LoadError(f"{path}: no such file")
    return readers[path.suffix](path, id_column)


def _open_jsonl(path: Path, id_column: str) -> RecordFile:
    def rows() -> Iterator[Row | BadRow]:
        position = 0
        with path.open("rb") as file:
            for line, text in enumerate(file, start=1):
                position += len(text)
                if text.strip():
                    yield _json_row(f"{path}:{line}", position, text, id_column)

    return RecordFile(path, path.stat().st_size, rows)


def _json_row(place: str, position: int, text: bytes, id_column: str) -> Row | BadRow:
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as err:
        return BadRow(position, f"{place}: not JSON: {err.msg} at column {err.colno}")
    if not isinstance(values, dict):
        return BadRow(position, f"{place}: not an object")
    if values.keys() == {id_column, "features"} and isinstance(values["features"], dict):
        values = {id_column: values[id_column], **values["features"]}
    return _row(place, position, values, id_column)


def _open_csv(path: Path, id_column: str) -> RecordFile:
    with path.open("rb") as file:
        header = next(csv.reader([file.readline().decode("utf-8-sig", "replace")]), [])
    _require_id(path, header, id_column)

    def rows() -> Iterator[Row | BadRow]:
        position = 0

        def lines() -> Iterator[str]:
            nonlocal position
            with path.open("rb") as file:
                for text in file:
                    position += len(text)
                    yield text.decode("utf-8-sig" if position == len(text) else "utf-8", "replace")

        reader = csv.reader(lines(), strict=True)
        next(reader)
        while True:
            place = f"{path}:{reader.line_num + 1}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as err:
                yield BadRow(position, f"{place}: not CSV: {err}")
                continue
            if not cells:
                continue
            if len(cells) != len(header):
                yield BadRow(position, f"{place}: {len(cells)} values for {len(header)} columns")
                continue
            row = dict(zip(header, cells, strict=True))
            values = {name: _cell(text) for name, text in row.items()}
            yield _row(place, position, {**values, id_column: row[id_column]}, id_column)

    return RecordFile(path, path.stat().st_size, rows)


def _cell(text: str) -> Any:
    """A CSV value: a number only when written the way JSON writes it, so that "007" stays text."""
    if not text:
        return None
    if text[0] in "-0123456789[{":
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text


def _open_parquet(path: Path, id_column: str) -> RecordFile:
    try:
        import pyarrow.parquet as parquet
    except ImportError as err:
        raise LoadError(f"{path}: reading Parquet needs pyarrow: ./install cpu,log") from err
    try:
        file = parquet.ParquetFile(path)
    except Exception as err:  # pyarrow's errors share no base class of their own
        raise LoadError(f"{path}: not Parquet: {err}") from err
    _require_id(path, file.schema_arrow.names, id_column)

    def rows() -> Iterator[Row | BadRow]:
        number = 0
        for batch in file.iter_batches():
            for values in batch.to_pylist(maps_as_pydicts="strict"):
                number += 1
                yield _row(f"{path}:row {number}", number, values, id_column)

    return RecordFile(path, file.metadata.num_rows, rows)


def _require_id(path: Path, columns: list[str], id_column: str) -> None:
    if id_column not in columns:
        raise LoadError(f"{path}: no column {id_column!r} (columns: {', '.join(columns)})")


def _row(place: str, position: int, values: dict[str, Any], id_column: str) -> Row | BadRow:
    id_ = values.pop(id_column, None)
    if isinstance(id_, bool) or not isinstance(id_, str | int) or id_ == "":
        return BadRow(position, f"{place}: {id_column} {id_!r} is neither a string nor an integer")
    present = {}
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            if math.isinf(value):
                return BadRow(position, f"{place}: {name} is {value}")
            continue  # NaN is how tables say absent
        if value is not None:
            present[name] = value
    return Row(place, position, str(id_), present)
