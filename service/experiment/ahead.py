"""Get snapshots ready while the loader goes on: no plan waits for the model of another.

Asked for a snapshot, it starts to load and rehearse; asked again, it says whether that is done.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

SOON_S = 0.05  # what is loaded and rehearsed already takes no longer


class Coming(Protocol):
    """A snapshot that is not live yet."""

    @property
    def scene(self) -> str: ...
    @property
    def models(self) -> frozenset[str]: ...


S = TypeVar("S", bound=Coming)


class NotYet(Exception):
    """A snapshot is being made ready; the loader will be woken."""


class Ahead(Generic[S]):
    """Gets snapshots ready; `done` is called when one is, or is refused.

    `prepare` loads and rehearses, or raises. It is called once for a scene and a set of models,
    with the first snapshot that needs them.
    """

    def __init__(self, prepare: Callable[[S], Awaitable[None]], done: Callable[[], None]) -> None:
        self._prepare, self._done = prepare, done
        self._tasks: dict[tuple[str, frozenset[str]], asyncio.Task[None]] = {}

    async def ready(self, snapshot: S, patience_s: float | None = SOON_S) -> None:
        """Return once the snapshot is ready.

        Raises:
            NotYet: that takes longer than `patience_s`, and goes on.
            Exception: whatever `prepare` raised; the next call tries again.
        """
        key = snapshot.scene, snapshot.models
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(self._run(snapshot))
            self._tasks[key] = task
        await asyncio.wait({task}, timeout=patience_s)
        if not task.done():
            task.add_done_callback(lambda _: self._done())
            raise NotYet
        del self._tasks[key]
        await task

    async def close(self) -> None:
        """Leave what is in progress."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _run(self, snapshot: S) -> None:
        await self._prepare(snapshot)
