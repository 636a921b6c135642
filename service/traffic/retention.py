"""Remove log files that are too old, or too many, from the directory that this process logs to."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.traffic.layout import ITEMS, REQUESTS

BY_AGE, BY_SIZE = "age", "size"

_DAY_S = 86_400.0

Removed = Callable[[str, int], None]  # (why, how many files)


@dataclass(frozen=True)
class Retention:
    """What of a log is kept; None: no such limit. Unfinished files are not touched.

    Files of items are kept longer, by `items_s`: an item cache tells of a record once, and serves
    requests from it for so long. Several processes may look after one directory.
    """

    directory: Path
    days: float | None
    bytes: int | None
    items_s: float
    removed: Removed
    clock: Callable[[], float] = time.time

    def tidy(self) -> None:
        """Remove what is beyond the limits.

        Raises:
            OSError: a file or directory cannot be read or removed.
        """
        files = sorted(_File.all_of(self.directory), key=lambda file: file.written_at)
        if self.days is not None:
            since = self.clock() - self.days * _DAY_S
            old = [f for f in files if f.written_at < since - (self.items_s if f.is_items else 0)]
            self._remove(old, BY_AGE)
            files = [file for file in files if file not in old]
        if self.bytes is not None:
            self._remove(self._too_many(files, self.bytes), BY_SIZE)

    def _too_many(self, files: "list[_File]", most: int) -> "list[_File]":
        """The oldest requests, and before each of them the items that no request left can have
        used; no more than it takes.
        """
        total = sum(file.bytes for file in files)
        requests = deque(file for file in files if not file.is_items)
        items = deque(file for file in files if file.is_items)
        chosen = []
        while total > most:
            used_since = (requests[0].written_at if requests else self.clock()) - self.items_s
            queue = items if items and items[0].written_at < used_since else requests
            if not queue:
                break
            chosen.append(queue.popleft())
            total -= chosen[-1].bytes
        return chosen

    def _remove(self, files: "list[_File]", why: str) -> None:
        removed = 0
        for file in files:
            with suppress(FileNotFoundError):  # another process was first
                file.path.unlink()
                removed += 1
        if removed:
            self.removed(why, removed)


@dataclass(frozen=True)
class _File:
    """A finished file."""

    path: Path
    bytes: int
    written_at: float  # Unix time
    is_items: bool

    @classmethod
    def all_of(cls, directory: Path) -> "list[_File]":
        found = []
        for kind in (REQUESTS, ITEMS):
            for path in directory.glob(f"*/*/*/{kind}-*.parquet"):
                try:
                    about = path.stat()
                except FileNotFoundError:
                    continue  # another process was faster
                found.append(cls(path, about.st_size, about.st_mtime, kind == ITEMS))
        return found
