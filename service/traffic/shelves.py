"""The files of the log: rows collected, written in groups, files rotated, by scene and model."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from service.traffic import item_rows, request_rows
from service.traffic.item_rows import ItemRows
from service.traffic.layout import ITEMS, REQUESTS, directory_of
from service.traffic.parquet_file import Open, RotatingFile, open_new
from service.traffic.record import Entry, ItemNote
from service.traffic.request_rows import Layout, RequestRows

# One row group each: enough rows to be worth their column headers, few enough to let go soon.
GROUP_CANDIDATES = 65_536
GROUP_ITEMS = 8_192
GROUP_S = 5.0


@dataclass(frozen=True)
class Rotation:
    """When a file is finished, and how the next one is opened."""

    bytes: int
    seconds: float
    unique: str  # of this process, among all that write to the directory
    open_file: Open = open_new
    clock: Callable[[], float] = time.monotonic


@dataclass
class Outcome:
    """Requests that are safe in finished files, and requests that are lost, and why."""

    written: int = 0
    lost: int = 0
    error: str | None = None


@dataclass
class _Requests:
    rows: RequestRows
    file: RotatingFile


class Shelf:
    """One scene and model. What touches the disk may raise OSError; then call `abandon`."""

    def __init__(self, root: Path, scene: str, model: str, rotation: Rotation) -> None:
        self._directory = directory_of(root, scene, model)
        self._rotation = rotation
        self._items = ItemRows(scene, model)
        self._item_file = self._file(ITEMS, item_rows.DICTIONARY)
        self._requests: dict[Layout, _Requests] = {}
        self._since: float | None = None  # when the oldest waiting row came

    def add(self, entry: Entry) -> None:
        """Take a request; its items, too, where no item cache tells of them."""
        ranked, used = entry
        versions = None
        if used is not None:
            versions = used.versions
            if versions is None:
                scored = ranked.ids[: len(used.item_records)]
                blocks = None if used.item_columns else used.blocks
                versions = self._items.versions(scored, used.item_records, blocks)
        self._of(Layout.of(ranked)).rows.add(entry, versions)
        self._begin_waiting()

    def note(self, note: ItemNote) -> None:
        """Take what an item cache is going to serve."""
        self._items.versions(note.ids, note.records, note.blocks, note.versions)
        self._begin_waiting()

    def tidy(self) -> int:
        """Write what is enough or has waited enough, finish what is due; rows that are safe now."""
        clock, requests = self._rotation.clock, self._requests.values()
        waited = self._since is not None and clock() - self._since >= GROUP_S
        due = self._item_file.is_due or any(r.file.is_due for r in requests)
        full = len(self._items) >= GROUP_ITEMS
        full |= sum(r.rows.candidates for r in requests) >= GROUP_CANDIDATES
        if due:
            return self.finish()
        if waited or full:
            self._write()
        return 0

    def finish(self) -> int:
        """Write everything and finish the files; rows that are safe now."""
        self._write()
        # first the items: who reads the requests finds them
        self._item_file.finish()
        self._items.forget()
        return sum(requests.file.finish() for requests in self._requests.values())

    @property
    def is_empty(self) -> bool:
        """Whether no row waits, and none is in a file that is not finished."""
        requests = self._requests.values()
        return not (
            len(self._items)
            or self._item_file.rows
            or any(len(r.rows) or r.file.rows for r in requests)
        )

    def abandon(self) -> int:
        """Begin anew; how many requests are lost."""
        lost = sum(len(r.rows) + r.file.abandon() for r in self._requests.values())
        self._item_file.abandon()
        self._requests.clear()
        self._items = ItemRows(self._items.scene, self._items.model)
        self._since = None
        return lost

    def _of(self, layout: Layout) -> _Requests:
        found = self._requests.get(layout)
        if found is None and not layout.heads:
            # nothing was scored: beside those that were
            found = next(iter(self._requests.values()), None)
        if found is None:
            file = self._file(REQUESTS, request_rows.DICTIONARY, layout.as_it_is)
            found = self._requests[layout] = _Requests(RequestRows(layout), file)
        return found

    def _file(
        self, kind: str, dictionary: list[str], as_it_is: Collection[str] = ()
    ) -> RotatingFile:
        rotation = self._rotation
        return RotatingFile(
            self._directory,
            kind,
            rotation.unique,
            rotate_bytes=rotation.bytes,
            rotate_s=rotation.seconds,
            dictionary=dictionary,
            as_it_is=as_it_is,
            open_file=rotation.open_file,
            clock=rotation.clock,
        )

    def _begin_waiting(self) -> None:
        if self._since is None:
            self._since = self._rotation.clock()

    def _write(self) -> None:
        self._since = None
        if len(self._items):
            self._item_file.write(self._items.table())
            self._items.clear()
        for requests in self._requests.values():
            if len(requests.rows):
                requests.file.write(requests.rows.table())
                requests.rows.clear()


class Shelves:
    """A shelf for each scene and model. Errors lose what that shelf has not finished.

    A shelf goes with its finished files, and its memory with it: a model that was replaced leaves
    nothing behind.
    """

    def __init__(self, root: Path, rotation: Rotation) -> None:
        self._root, self._rotation = root, rotation
        self._shelves: dict[tuple[str, str], Shelf] = {}

    def add(self, item: Entry | ItemNote) -> Outcome:
        if isinstance(item, ItemNote):
            shelf = self._of(item.scene, item.model)
            return self._try(shelf, lambda: shelf.note(item))
        shelf = self._of(item.ranked.scene, item.ranked.model)
        return self._try(shelf, lambda: shelf.add(item), one_more=1)

    def tidy(self) -> Outcome:
        return self._all(Shelf.tidy)

    def finish(self) -> Outcome:
        return self._all(Shelf.finish)

    def _all(self, work: Callable[[Shelf], int]) -> Outcome:
        total = Outcome()
        for key, shelf in list(self._shelves.items()):
            outcome = self._try(shelf, partial(work, shelf))
            total.written += outcome.written
            total.lost += outcome.lost
            total.error = total.error or outcome.error
            if shelf.is_empty:
                del self._shelves[key]
        return total

    def _try(self, shelf: Shelf, work: Callable[[], int | None], one_more: int = 0) -> Outcome:
        try:
            return Outcome(written=work() or 0)
        except Exception as err:  # pyarrow's, too: the log outlives whatever cannot be written
            return Outcome(lost=shelf.abandon() + one_more, error=f"{type(err).__name__}: {err}")

    def _of(self, scene: str, model: str) -> Shelf:
        key = scene, model
        if key not in self._shelves:
            self._shelves[key] = Shelf(self._root, scene, model, self._rotation)
        return self._shelves[key]
