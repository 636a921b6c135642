"""The serving log: requests handed over on the request path, written by a thread of its own.

A request costs the hand-over of references. The queue between is bounded by the candidates in it;
what does not fit, and what the disk does not take, is dropped and counted, never waited for.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from service.traffic.errors import NoParquet
from service.traffic.record import Entry, ItemNote
from service.traffic.sampling import Sample

log = structlog.get_logger("finerank.traffic")

WRITTEN, QUEUE_FULL, FAILED = "written", "queue_full", "write_failed"

_PAUSE_S = 0.25  # the thread looks this often: a wake-up by each request would cost more
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 30.0
_TIDY_S = 60.0  # old files are looked for this often
_CLOSE_S = 5.0  # a disk that hangs must not keep the process alive

Count = Callable[[str, int], None]  # (what became of them, how many requests)


class Sink(Protocol):
    """Where entries go besides the files; called on the log's thread."""

    def write(self, entries: Sequence[Entry]) -> None: ...


class Outcome(Protocol):
    """What became of requests; `error` says why some are lost."""

    @property
    def written(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def error(self) -> str | None: ...


class Files(Protocol):
    """The files (see `shelves`)."""

    def add(self, item: Entry | ItemNote) -> Outcome: ...
    def tidy(self) -> Outcome: ...
    def finish(self) -> Outcome: ...


class ServingLog:
    """A bounded queue and the thread that empties it.

    Args:
        files: write requests; None where only sinks are wanted.
        sample: which requests are logged.
        most_candidates: of the requests in the queue together.
        count: is told what became of requests.
        sinks: get every entry, too.
        remove_old: old files, now and then.
        remove_unfinished: what killed processes left, once; how many files that were.
    """

    def __init__(
        self,
        files: Files | None,
        sample: Sample,
        *,
        most_candidates: int,
        count: Count,
        sinks: Sequence[Sink] = (),
        remove_old: Callable[[], None] | None = None,
        remove_unfinished: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files, self._sample, self._sinks = files, sample, sinks
        self._remove_old, self._tidy_at = remove_old, clock()
        self._remove_unfinished = remove_unfinished
        self._most, self._count, self._clock = most_candidates, count, clock
        self._queue: deque[Entry | ItemNote] = deque()
        self._waiting = 0  # candidates
        self._lock = threading.Lock()
        self._closing, self._gave_up = threading.Event(), False
        self._roll, self._rolled = threading.Event(), threading.Event()
        self._retry_at: float | None = None
        self._retry_s = _FIRST_RETRY_S
        self._thread = threading.Thread(target=self._run, name="serving-log", daemon=True)

    @property
    def waiting(self) -> int:
        """Candidates of the requests in the queue."""
        return self._waiting

    @property
    def keeps_items(self) -> bool:
        """Whether it wants to know what items were computed from."""
        return self._files is not None

    def start(self) -> None:
        self._thread.start()

    def wants(self, request_id: str) -> bool:
        return self._sample.takes(request_id)

    def offer(self, entry: Entry) -> None:
        """Take a request, or drop and count it. Never waits."""
        if not self._put(entry, len(entry.ranked.ids)):
            self._count(QUEUE_FULL, 1)

    def note(self, note: ItemNote) -> None:
        """Take what an item cache will serve.

        One that is dropped cannot be replayed until the cache reads the item anew.
        """
        self._put(note, len(note.ids))

    def finish_files(self, timeout_s: float) -> bool:
        """Let everything offered so far be readable; whether that was done in time."""
        self._rolled.clear()
        self._roll.set()
        return self._rolled.wait(timeout_s)

    def close(self) -> None:
        """Write what waits, for `_CLOSE_S` at most; a disk that still hangs then has lost it."""
        self._closing.set()
        self._roll.set()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)
            self._gave_up = self._thread.is_alive()

    def _put(self, item: Entry | ItemNote, weight: int) -> bool:
        weight = max(weight, 1)
        with self._lock:
            if self._waiting + weight > self._most:
                return False
            self._waiting += weight
        self._queue.append(item)
        return True

    def _run(self) -> None:
        self._clear_up()
        while True:
            rolling = self._roll.wait(_PAUSE_S)
            if rolling:
                self._roll.clear()
            # Read after the wait: files are finished on the way out, however close the two came.
            closing = self._closing.is_set()
            rolling |= closing
            self._empty()
            if self._gave_up:
                return
            if self._files is not None and not self._is_resting():
                self._account(self._files.finish() if rolling else self._files.tidy())
            if rolling:
                self._rolled.set()
            if closing:
                return
            self._tidy()

    def _clear_up(self) -> None:
        if self._remove_unfinished is None:
            return
        try:
            files = self._remove_unfinished()
        except OSError as err:
            log.warning("unfinished_log_files_not_removed", reason=str(err))
        else:
            if files:
                log.info("unfinished_log_files_removed", files=files)

    def _tidy(self) -> None:
        if self._remove_old is None or self._clock() < self._tidy_at:
            return
        self._tidy_at = self._clock() + _TIDY_S
        try:
            self._remove_old()
        except OSError as err:
            log.warning("old_log_files_not_removed", reason=str(err))

    def _empty(self) -> None:
        """Take what waits, one by one: the interpreter is needed elsewhere in between."""
        entries = []
        while self._queue and not self._gave_up:
            item = self._queue.popleft()
            is_entry = isinstance(item, Entry)
            weight = len(item.ranked.ids if isinstance(item, Entry) else item.ids)
            with self._lock:
                self._waiting -= max(weight, 1)
            if isinstance(item, Entry) and self._sinks:
                entries.append(item)
            if self._files is None:
                continue
            if self._is_resting():
                if is_entry:
                    self._count(FAILED, 1)
            else:
                self._account(self._files.add(item))
        for sink in self._sinks if entries else ():
            try:
                sink.write(entries)
            except Exception as err:  # the files must outlive it
                log.warning("log_sink_failed", sink=type(sink).__name__, reason=str(err))

    def _is_resting(self) -> bool:
        return self._retry_at is not None and self._clock() < self._retry_at

    def _account(self, outcome: Outcome) -> None:
        """Count; after a failure the disk is left alone for a while."""
        for result, requests in ((WRITTEN, outcome.written), (FAILED, outcome.lost)):
            if requests:
                self._count(result, requests)
        if outcome.error is not None:
            if self._retry_at is None:
                log.warning("serving_log_not_written", reason=outcome.error, lost=outcome.lost)
            self._retry_at = self._clock() + self._retry_s
            self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)
        elif outcome.written and self._retry_at is not None:
            log.info("serving_log_written_again")
            self._retry_at, self._retry_s = None, _FIRST_RETRY_S


def open_log(
    directory: Path,
    sample: Sample,
    *,
    unique: str,
    most_candidates: int,
    rotate_bytes: int,
    rotate_s: float,
    count: Count,
    sinks: Sequence[Sink] = (),
    remove_old: Callable[[], None] | None = None,
) -> ServingLog:
    """A log of Parquet files in `directory`; not started yet.

    Raises:
        NoParquet: pyarrow is not installed.
    """
    try:
        from service.traffic.shelves import Rotation, Shelves
        from service.traffic.unfinished import remove_unfinished
    except ImportError as err:
        raise NoParquet(f"the serving log in {directory}") from err
    files = Shelves(directory, Rotation(rotate_bytes, rotate_s, unique))
    return ServingLog(
        files,
        sample,
        most_candidates=most_candidates,
        count=count,
        sinks=sinks,
        remove_old=remove_old,
        remove_unfinished=partial(remove_unfinished, directory),
    )
