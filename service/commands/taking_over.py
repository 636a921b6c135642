"""Let a model take over in a scene: warm its items, rehearse it with recent requests; both once."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from service.commands.warming import warm_like
from service.experiment.snapshot import Snapshot
from service.experiment.variants import one_model_each
from service.features.store import FeatureStore
from service.scoring.item_caches import ItemCaches
from service.scoring.pace import Pace
from service.scoring.package import LoadedModel
from service.scoring.pool import ModelPool
from service.scoring.rehearsal import Rehearsal


@dataclass(eq=False)
class _Run:
    """One model taking over in one scene, and how many wait for it."""

    task: asyncio.Task[None]
    waiting: int = 0


class TakingOver:
    """Called with a snapshot before it goes live, of which it makes every model ready for itself.

    A loaded model that has been through it for a scene is ready there, whoever asks again: first
    the one who promotes it, then the loader, which may ask several times. Who asks meanwhile waits
    for the same run, which ends when nobody waits for it any more.

    `live`: the live snapshot of a scene. `open_store`: a patient client, closed after use.
    """

    def __init__(
        self,
        live: Callable[[str], Snapshot | None],
        pool: ModelPool,
        items: ItemCaches,
        open_store: Callable[[], FeatureStore],
        rehearsal: Rehearsal,
        pace: Pace,
    ) -> None:
        self._live, self._pool, self._items = live, pool, items
        self._open_store, self._rehearsal, self._pace = open_store, rehearsal, pace
        self._ready: WeakKeyDictionary[LoadedModel, set[str]] = WeakKeyDictionary()
        self._runs: dict[tuple[str, str], _Run] = {}  # by model and scene
        self._tasks: set[asyncio.Task[None]] = set()  # of these, and of those left

    async def __call__(self, snapshot: Snapshot) -> None:
        """Make the models ready that the live snapshot of the scene does not use.

        Raises:
            PackageError: see Rehearsal.
        """
        scene, before = snapshot.scene, self._live(snapshot.scene)
        live = frozenset[str]() if before is None else before.models
        fresh = [id_ for id_ in sorted(snapshot.models - live) if not self._is_ready(id_, scene)]
        runs = [self._run(snapshot, id_, live) for id_ in fresh]
        # Held: what is ready waits for the others.
        with self._pool.holding(snapshot.models), self._waiting(runs):
            # Shielded: one who gives up does not take it from the others.
            shielded = [asyncio.shield(run.task) for run in runs]
            outcomes = await asyncio.gather(*shielded, return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def close(self) -> None:
        """Leave what is in progress."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self, snapshot: Snapshot, id_: str, live: frozenset[str]) -> _Run:
        """The one in progress, or a new one."""
        key = id_, snapshot.scene
        run = self._runs.get(key)
        if run is None or run.task.done():
            task = asyncio.create_task(self._take_over(snapshot, id_, live))
            run = self._runs[key] = _Run(task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return run

    @contextmanager
    def _waiting(self, runs: Sequence[_Run]) -> Iterator[None]:
        """Count who waits; the last one to go ends the run, which nobody can join from then on."""
        for run in runs:
            run.waiting += 1
        try:
            yield
        finally:
            for run in runs:
                run.waiting -= 1
            left = [run for run in runs if not run.waiting]
            self._runs = {key: run for key, run in self._runs.items() if run not in left}
            for run in left:
                run.task.cancel()

    async def _take_over(self, snapshot: Snapshot, id_: str, live: frozenset[str]) -> None:
        with self._pool.holding([id_]):
            store = self._open_store()  # closed by `warm_like`
            await warm_like(snapshot, id_, live, self._pool, self._items, store, self._pace)
            await self._rehearsal(snapshot.scene, one_model_each(snapshot, [id_]))
            model = self._pool.get(id_)
            if model is not None:
                self._ready.setdefault(model, set()).add(snapshot.scene)

    def _is_ready(self, id_: str, scene: str) -> bool:
        model = self._pool.get(id_)
        return model is not None and scene in self._ready.get(model, ())
