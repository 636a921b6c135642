"""The threads that score, beside the event loop: a fixed number; urgent work goes first."""

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
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
        # (finish at, number of submission, work, its future)
        self._waiting: list[tuple[float, int, Callable[[], Any], Future[Any]]] = []
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
        submitted = self._submit(_announced(work, turn), loop.time() + timeout_s)
        if turn is not None:
            submitted.add_done_callback(lambda _: _call_soon(loop, turn.finished))
        future = asyncio.wrap_future(submitted)
        try:
            await asyncio.wait({future}, timeout=timeout_s)
        finally:  # also when the caller itself was cancelled
            if not future.done():
                stop()
                submitted.cancel()
                future.cancel()
        if future.cancelled():
            raise Late
        return future.result()

    def close(self) -> None:
        """Take back what has not begun, and let the threads end."""
        with self._changed:
            self._closed = True
            for *_, future in self._waiting:
                future.cancel()
            self._waiting.clear()
            self._changed.notify_all()

    def _submit(self, work: Callable[[], T], finish_at: float) -> "Future[T]":
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the workers are closed")
            heapq.heappush(self._waiting, (finish_at, next(self._numbers), work, future))
            self._changed.notify()
        return future

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        return
                    self._changed.wait()
                *_, work, future = heapq.heappop(self._waiting)
            if future.set_running_or_notify_cancel():
                _fulfil(future, work)


def _fulfil(future: "Future[T]", work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as err:
        future.set_exception(err)
    else:
        future.set_result(result)


def _announced(work: Callable[[], T], turn: Turn | None) -> Callable[[], T]:
    if turn is None:
        return work

    def announced() -> T:
        turn.started()
        return work()

    return announced


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended: nobody counts any more
        loop.call_soon_threadsafe(callback)
