"""Get snapshots ready while the loader goes on: no plan waits for the model of another.

Asked for a snapshot, it starts to load and rehearse; asked again, it says whether that is done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

SOON_S = 0.05  # what is loaded and rehearsed already takes no longer

_Task = asyncio.Task[None]


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

    `prepare` loads and rehearses, or raises; it runs once at a time for a scene and a set of
    models, with the first snapshot that needs them. What it has made ready does not stay so, models
    that nobody uses are dropped: who comes back when it is done makes it run again, over what is
    loaded by now.
    """

    def __init__(self, prepare: Callable[[S], Awaitable[None]], done: Callable[[], None]) -> None:
        self._prepare, self._done = prepare, done
        self._tasks: dict[tuple[str, frozenset[str]], _Task] = {}
        self._asked: set[tuple[str, frozenset[str]]] = set()  # since the last `forget`

    async def ready(self, snapshot: S, patience_s: float | None = SOON_S) -> None:
        """Return once the snapshot is ready.

        Raises:
            NotYet: that takes longer than `patience_s`, and goes on.
            Exception: whatever `prepare` raised; the next call tries again.
        """
        key = snapshot.scene, snapshot.models
        self._asked.add(key)
        task = self._tasks.get(key)
        if task is None or _went_well(task):
            task = self._tasks[key] = asyncio.create_task(self._run(snapshot))
        await asyncio.wait({task}, timeout=patience_s)
        if not task.done():
            task.add_done_callback(lambda _: self._done())
            raise NotYet
        self._tasks.pop(key, None)
        await task

    def forget(self) -> None:
        """Drop what came of snapshots that nobody has asked for since the last call."""
        left = {key for key, task in self._tasks.items() if task.done()} - self._asked
        for task in map(self._tasks.pop, left):
            _went_well(task)  # its error is read, or asyncio complains
        self._asked.clear()

    async def close(self) -> None:
        """Leave what is in progress."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _run(self, snapshot: S) -> None:
        await self._prepare(snapshot)


def _went_well(task: _Task) -> bool:
    return task.done() and (task.cancelled() or task.exception() is None)
