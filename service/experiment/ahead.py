"""Load models while the loader goes on: a new formula must not wait for a package to be proved.

Asked for models, it starts to prepare them; asked again, it says whether they are ready.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

SOON_S = 0.05  # models that are loaded already take no longer

Prepare = Callable[[frozenset[str]], Awaitable[None]]  # load models "name/version", or raise


class NotYet(Exception):
    """The models of a snapshot are being prepared; the loader will be woken."""


class Ahead:
    """Prepares sets of models; `done` is called when one is ready, or refused."""

    def __init__(self, prepare: Prepare, done: Callable[[], None]) -> None:
        self._prepare, self._done = prepare, done
        self._tasks: dict[frozenset[str], asyncio.Task[None]] = {}

    async def ready(self, models: frozenset[str], patience_s: float | None = SOON_S) -> None:
        """Return once the models are prepared.

        Raises:
            NotYet: that takes longer than `patience_s`, and goes on.
            Exception: whatever `prepare` raised; the next call tries again.
        """
        task = self._tasks.get(models)
        if task is None:
            task = asyncio.create_task(self._run(models))
            self._tasks[models] = task
        await asyncio.wait({task}, timeout=patience_s)
        if not task.done():
            task.add_done_callback(lambda _: self._done())
            raise NotYet
        del self._tasks[models]
        await task

    async def close(self) -> None:
        """Leave what is in progress."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _run(self, models: frozenset[str]) -> None:
        await self._prepare(models)
