"""Parquet files that appear whole: written beside, renamed when finished, rotated by size and time.

Whoever lists the directory sees finished files only; what a crash leaves is a `.part` file. Its
writer holds a lock on it, which goes with the process: see `unfinished`.
"""

import contextlib
import fcntl
import itertools
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

Open = Callable[[Path], IO[bytes]]

_BUFFER_BYTES = 1 << 20
_PAGE_BYTES = 1 << 16  # larger ones leave the processor's caches before they are written
PART = ".part"
_numbers = itertools.count(1)  # of the files of this process


def open_new(path: Path) -> IO[bytes]:
    file = path.open("xb", buffering=_BUFFER_BYTES)
    with contextlib.suppress(OSError):  # where files cannot be locked, none is removed
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


class RotatingFile:
    """Tables of one schema, in one file after the other: `<kind>-<time>-<unique>-<n>.parquet`.

    Args:
        directory: made when the first table comes.
        kind: first word of the names.
        unique: tells the files of several processes apart.
        rotate_bytes, rotate_s: a file that has reached one of them is finished.
        dictionary: columns with few different values.
        as_it_is: columns of lists that are not compressed.
        open_file: opens a new file.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        directory: Path,
        kind: str,
        unique: str,
        *,
        rotate_bytes: int,
        rotate_s: float,
        dictionary: list[str],
        as_it_is: Collection[str] = (),
        open_file: Open = open_new,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory, self._kind, self._unique = directory, kind, unique
        self._rotate_bytes, self._rotate_s = rotate_bytes, rotate_s
        self._dictionary, self._as_it_is = dictionary, as_it_is
        self._open, self._clock = open_file, clock
        self._part: _Part | None = None
        self.rows = 0  # in the file that is not finished

    def write(self, table: arrow.Table) -> None:
        """Append rows.

        Raises:
            OSError: and nothing of this file will be read; call `abandon`.
        """
        if self._part is None:
            self._part = self._begin(table.schema)
        self._part.writer.write_table(table)
        self._part.sink.drain()
        self.rows += len(table)

    @property
    def is_due(self) -> bool:
        """Whether the file is large or old enough to be finished."""
        part = self._part
        if part is None:
            return False
        age_s = self._clock() - part.began_at
        return part.sink.bytes >= self._rotate_bytes or age_s >= self._rotate_s

    def finish(self) -> int:
        """Let the file appear; how many rows it holds.

        Raises:
            OSError: see `write`.
        """
        part = self._part
        if part is None:
            return 0
        part.writer.close()
        part.sink.drain()
        part.sink.file.close()
        part.path.rename(part.path.with_suffix(""))
        rows, self.rows, self._part = self.rows, 0, None
        return rows

    def abandon(self) -> int:
        """Remove the file; how many rows are lost."""
        part, self._part = self._part, None
        rows, self.rows = self.rows, 0
        if part is not None:
            part.writer.close()
            _drop(part.sink.file, part.path)
        return rows

    def _begin(self, schema: arrow.Schema) -> "_Part":
        self._directory.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
        name = f"{self._kind}-{stamp}-{self._unique}-{next(_numbers)}.parquet{PART}"
        path = self._directory / name
        sink = _Sink(self._open(path))
        try:
            writer = parquet.ParquetWriter(
                sink,
                schema,
                compression={
                    _leaf(field): "none" if field.name in self._as_it_is else "snappy"
                    for field in schema
                },
                use_dictionary=self._dictionary,
                write_statistics=["at"],
                data_page_size=_PAGE_BYTES,
            )
        except Exception:
            _drop(sink.file, path)
            raise
        return _Part(path, sink, writer, self._clock())


def _leaf(field: arrow.Field) -> str:
    """What Parquet calls the values of a column."""
    lists = arrow.types.is_list(field.type)
    return f"{field.name}.list.{field.type.value_field.name}" if lists else field.name


@dataclass(frozen=True)
class _Part:
    """A file that is being written."""

    path: Path
    sink: "_Sink"
    writer: Any
    began_at: float


def _drop(file: IO[bytes], path: Path) -> None:
    """Remove what must not be read; the file has had its error, or what is left of it."""
    with contextlib.suppress(OSError):
        file.close()
    path.unlink(missing_ok=True)


class _Sink:
    """The file as the Parquet writer sees it: memory, which `drain` empties into the file.

    So nothing of pyarrow waits for the disk. A process that ends beside a disk that hangs would be
    aborted there: at its end Python takes threads out of their code, and C++ has none of that.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.bytes = 0
        self.closed = False
        self._waiting = np.empty(_BUFFER_BYTES, np.uint8)  # kept: see `list_columns`
        self._used = 0

    def write(self, data: Any) -> int:
        given = np.frombuffer(data, np.uint8)
        end = self._used + len(given)
        if end > len(self._waiting):
            grown = np.empty(2 * end, np.uint8)
            grown[: self._used] = self._waiting[: self._used]
            self._waiting = grown
        self._waiting[self._used : end] = given
        self._used = end
        self.bytes += len(given)
        return len(given)

    def drain(self) -> None:
        """Write what waits.

        Raises:
            OSError: see `RotatingFile.write`.
        """
        waiting, self._used = self._waiting[: self._used].data, 0
        while waiting:
            waiting = waiting[self.file.write(waiting) :]

    def flush(self) -> None:
        """The writer asks for it."""

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.bytes
