"""The threads that score, beside the event loop: a fixed number; urgent work goes first."""

import asyncio
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import structlog

T = TypeVar("T")

MOST_ASIDE = 16

log = structlog.get_logger("finerank.workers")


class Late(Exception):
    """The work was not done in time; it was taken back, or told to stop, or not begun."""


class Turn(Protocol):
    """Whoever wants to know when work really begins and ends, whether or not anybody waits."""

    def started(self) -> None:
        """On the worker thread, right before the work."""

    def finished(self) -> None:
        """On the event loop, after the work has ended or was taken back."""


class Workers:
    """Runs work on `threads` threads.

    Work that must be done earlier starts earlier, whatever came first: a patient caller's work does
    not stand in the way of one who has 40 ms. Work whose time is up before a thread is free never
    starts.

    Work may be shared with threads that have nothing to do at that moment (`share`).

    Work on the side (`offer`) has what threads are left over: one at a time, begun when no other
    work waits, and told to stop when other work would have to wait for it.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        # (finish at, number of submission, job)
        self._waiting: list[tuple[float, int, _Job]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._idle = 0
        self._shared: deque[_Shared] = deque()  # once for each thread that is called to help
        # (work, how to stop it)
        self._aside: deque[tuple[Callable[[], None], Callable[[], None]]] = deque(maxlen=MOST_ASIDE)
        self._stop_aside: Callable[[], None] | None = None  # of the one that runs
        for number in range(threads):
            threading.Thread(target=self._serve, name=f"score-{number}", daemon=True).start()

    async def run(
        self,
        work: Callable[[], T],
        *,
        timeout_s: float,
        stop: Callable[[], None],
        turn: Turn | None = None,
    ) -> T:
        """The result of `work`; `stop` is called when nobody waits for it any more.

        Raises:
            Late: no result within `timeout_s`.
        """
        if timeout_s <= 0:
            raise Late
        loop = asyncio.get_running_loop()
        job = _Job(work, turn, loop)
        self._submit(job, loop.time() + timeout_s)
        time_is_up = loop.call_later(timeout_s, job.give_up)
        try:
            result: T = await job.result
        finally:  # also when the caller itself was cancelled
            time_is_up.cancel()
            if not job.ended:
                stop()
                if self._takes_back(job):
                    job.end()
        return result

    @property
    def idle(self) -> int:
        """Threads that are free, less what waits for them; a glance, on any thread."""
        return max(self._idle - len(self._waiting) - len(self._shared), 0)

    def share(
        self, tasks: Sequence[Callable[[], None]], joined: Callable[[int], None] | None = None
    ) -> float:
        """Do all of these on this scoring thread and on those that are idle now.

        Ends when all are done. Gives the seconds that they took together, and raises what the first
        that failed raised; what had not begun then is left undone.

        `joined` is told how many threads have begun to work on them, each time that is one more; on
        that thread, and not after the end.
        """
        shared = _Shared(tasks, joined)
        with self._changed:
            for _ in range(min(self.idle, len(tasks) - 1)):
                self._shared.append(shared)
                self._changed.notify()
        shared.do()
        return shared.wait()

    def offer(self, work: Callable[[], None], stop: Callable[[], None]) -> bool:
        """Do this on the side; False when too much waits there. `stop` may come at any time."""
        with self._changed:
            if self._closed or len(self._aside) == MOST_ASIDE:
                return False
            self._aside.append((work, stop))
            self._changed.notify()
        return True

    def close(self) -> None:
        """Take back what has not begun, and let the threads end."""
        with self._changed:
            self._closed = True
            for *_, job in self._waiting:
                _call_soon(job.loop, job.give_up)
            self._aside.clear()
            if self._stop_aside is not None:
                self._stop_aside()
            self._changed.notify_all()

    def _submit(self, job: "_Job", finish_at: float) -> None:
        with self._changed:
            if self._closed:
                raise RuntimeError("the workers are closed")
            heapq.heappush(self._waiting, (finish_at, next(self._numbers), job))
            if self._stop_aside is not None and len(self._waiting) > self._idle:
                self._stop_aside()
            self._changed.notify()

    def _takes_back(self, job: "_Job") -> bool:
        """Whether `job` had not begun, and never will."""
        with self._changed:
            if job.begun:
                return False
            job.begun = True
            return True

    def _serve(self) -> None:
        while True:
            # A thread that waits would keep the last request's model, and its item cache, alive.
            job = aside = shared = None
            with self._changed:
                while not (self._waiting or self._shared) and (
                    not self._aside or self._stop_aside is not None
                ):
                    if self._closed:
                        return
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
                if self._waiting:
                    *_, job = heapq.heappop(self._waiting)
                    if job.begun or self._closed:
                        continue
                    job.begun = True
                elif self._shared:
                    shared = self._shared.popleft()
                else:
                    aside, self._stop_aside = self._aside.popleft()
            if job is not None:
                job.do()
            elif shared is not None:
                shared.do()
            elif aside is not None:
                self._do_aside(aside)

    def _do_aside(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.exception("work_aside_failed")
        with self._changed:
            self._stop_aside = None


class _Shared:
    """Tasks of one request that several threads do."""

    __slots__ = (
        "_all_done", "_error", "_joined", "_left", "_lock", "_tasks", "_threads", "_worked_s"
    )  # fmt: skip

    def __init__(
        self, tasks: Sequence[Callable[[], None]], joined: Callable[[int], None] | None
    ) -> None:
        self._tasks = deque(tasks)
        self._threads, self._joined = 0, joined
        self._left = len(tasks)
        self._lock, self._all_done = threading.Lock(), threading.Event()
        self._error: BaseException | None = None
        self._worked_s = 0.0

    def do(self) -> None:
        """Tasks that nobody has begun, one after the other: none, if a helper comes too late."""
        has_joined = False
        while True:
            try:
                task = self._tasks.popleft()
            except IndexError:
                return
            if not has_joined:
                has_joined = True
                self._join()
            began = time.perf_counter()
            error: BaseException | None = None
            try:
                if self._error is None:
                    task()
            except BaseException as err:
                error = err
            with self._lock:
                self._error = self._error or error
                self._worked_s += time.perf_counter() - began
                self._left -= 1
                if not self._left:
                    self._all_done.set()
            del error  # see wait

    def _join(self) -> None:
        with self._lock:
            self._threads += 1
            if self._joined is not None:
                self._joined(self._threads)

    def wait(self) -> float:
        self._all_done.wait()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # it refers to this frame, and so to all that the tasks hold
        return self._worked_s


class _Job:
    """Work on its way to a thread and back: one call into the event loop brings the result.

    `begun` is guarded by the lock of the workers; the rest belongs to the event loop, `do` aside.
    """

    __slots__ = ("_turn", "_work", "begun", "ended", "loop", "result")

    def __init__(
        self, work: Callable[[], Any], turn: Turn | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._work, self._turn, self.loop = work, turn, loop
        self.result: asyncio.Future[Any] = loop.create_future()
        self.begun = self.ended = False

    def do(self) -> None:
        """On the worker thread."""
        if self._turn is not None:
            self._turn.started()
        try:
            value = self._work()
        except BaseException as err:
            _call_soon(self.loop, self._fail, err)
        else:
            _call_soon(self.loop, self._succeed, value)

    def give_up(self) -> None:
        if not self.result.done():
            self.result.set_exception(Late())

    def end(self) -> None:
        self.ended = True
        if self._turn is not None:
            self._turn.finished()

    def _succeed(self, value: Any) -> None:
        self.end()
        if not self.result.done():
            self.result.set_result(value)

    def _fail(self, error: BaseException) -> None:
        self.end()
        if not self.result.done():
            self.result.set_exception(error)


def _call_soon(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: Any
) -> None:
    with suppress(RuntimeError):  # the loop has ended: nobody waits any more
        loop.call_soon_threadsafe(callback, *arguments)
