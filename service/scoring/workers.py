"""The threads that score, beside the event loop: a fixed number; urgent work goes first."""

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


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
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        # (finish at, number of submission, job)
        self._waiting: list[tuple[float, int, _Job]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
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

    def close(self) -> None:
        """Take back what has not begun, and let the threads end."""
        with self._changed:
            self._closed = True
            for *_, job in self._waiting:
                _call_soon(job.loop, job.give_up)
            self._changed.notify_all()

    def _submit(self, job: "_Job", finish_at: float) -> None:
        with self._changed:
            if self._closed:
                raise RuntimeError("the workers are closed")
            heapq.heappush(self._waiting, (finish_at, next(self._numbers), job))
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
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        return
                    self._changed.wait()
                *_, job = heapq.heappop(self._waiting)
                if job.begun or self._closed:
                    continue
                job.begun = True
            job.do()


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
