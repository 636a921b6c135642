"""Get snapshots ready while the loader goes on: no plan waits for the model of another.

Asked for a snapshot, it starts to load and rehearse; asked again, it says whether that is done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

SOON_S = 0.05  # what is loaded and rehearsed already takes no longer

_Key = tuple[str, frozenset[str]]  # scene, models


class Coming(Protocol):
    """A snapshot that is not live yet."""

    @property
    def scene(self) -> str: ...
    @property
    def models(self) -> frozenset[str]: ...


S = TypeVar("S", bound=Coming)


class NotYet(Exception):
    """A snapshot is being made ready; the loader will be woken."""


@dataclass
class _Work:
    """`awaited`: somebody was told that it is not ready yet."""

    task: asyncio.Task[None]
    awaited: bool = False

    @property
    def failed(self) -> bool:
        task = self.task
        return task.done() and not task.cancelled() and task.exception() is not None


class Ahead(Generic[S]):
    """Gets snapshots ready; `done` is called when one is, or is refused.

    `prepare` loads and rehearses, or raises; it runs once at a time for a scene and a set of
    models, with the first snapshot that needs them. What it has made ready does not stay so, models
    that nobody uses are dropped: who comes back when it is done makes it run again, over what is
    loaded by now.
    """

    def __init__(self, prepare: Callable[[S], Awaitable[None]], done: Callable[[], None]) -> None:
        self._prepare, self._done = prepare, done
        self._works: dict[_Key, _Work] = {}
        self._asked: set[_Key] = set()  # since the last `forget`
        self._left: set[asyncio.Task[None]] = set()  # cancelled, and not at their end yet

    async def ready(self, snapshot: S, patience_s: float | None = SOON_S) -> None:
        """Return once the snapshot is ready.

        Args:
            patience_s: how long to wait for what starts with this call; what was in progress
                before is waited for only if it is None, for ever.

        Raises:
            NotYet: that takes longer, and goes on.
            Exception: whatever `prepare` raised; the next call tries again.
        """
        key = snapshot.scene, snapshot.models
        self._asked.add(key)
        work = self._works.get(key)
        starts = work is None or (work.task.done() and not work.failed)
        if work is None or starts:
            work = self._works[key] = self._start(snapshot)
        if starts or patience_s is None:
            await asyncio.wait({work.task}, timeout=patience_s)
        if not work.task.done():
            work.awaited = True
            raise NotYet
        self._works.pop(key, None)
        await work.task

    def forget(self) -> None:
        """Leave snapshots that nobody has asked for since the last call."""
        for key in self._works.keys() - self._asked:
            self._leave(self._works.pop(key).task)
        self._asked.clear()

    async def close(self) -> None:
        """Leave what is in progress."""
        for work in self._works.values():
            self._leave(work.task)
        self._works.clear()
        await asyncio.gather(*self._left, return_exceptions=True)

    def _start(self, snapshot: S) -> _Work:
        work = _Work(asyncio.create_task(self._run(snapshot)))
        work.task.add_done_callback(lambda _: self._ended(work))
        return work

    async def _run(self, snapshot: S) -> None:
        await self._prepare(snapshot)

    def _ended(self, work: _Work) -> None:
        self._left.discard(work.task)
        if not work.task.cancelled():
            work.task.exception()  # read, or asyncio complains where nobody asks for it any more
            if work.awaited:
                self._done()

    def _leave(self, task: asyncio.Task[None]) -> None:
        if task.cancel():
            self._left.add(task)
