"""The threads that score, beside the event loop: a fixed number, and nobody waits too long."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Late(Exception):
    """The work was not done in time; it was taken back, or told to stop."""


class Workers:
    """Runs work on `threads` threads; work whose time is up before one is free never starts."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="score")

    async def run(self, work: Callable[[], T], *, timeout_s: float, stop: Callable[[], None]) -> T:
        """The result of `work`; `stop` is called when nobody waits for it any more.

        Raises:
            Late: no result within `timeout_s`.
        """
        if timeout_s <= 0:
            raise Late
        submitted = self._pool.submit(work)
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
        self._pool.shutdown(wait=False, cancel_futures=True)
