"""Let a model take over in a scene: warm its items, rehearse it with recent requests; both once."""

import asyncio
from collections.abc import Callable
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


class TakingOver:
    """Called with a snapshot before it goes live, of which it makes every model ready for itself.

    A loaded model that has been through it for a scene is ready there, whoever asks again: first
    the one who promotes it, then the loader, which may ask several times. Who asks meanwhile waits
    for the same run.

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
        self._runs: dict[tuple[str, str], asyncio.Task[None]] = {}  # by model and scene

    async def __call__(self, snapshot: Snapshot) -> None:
        """Make the models ready that the live snapshot of the scene does not use.

        Raises:
            PackageError: see Rehearsal.
        """
        scene, before = snapshot.scene, self._live(snapshot.scene)
        live = frozenset[str]() if before is None else before.models
        fresh = [id_ for id_ in sorted(snapshot.models - live) if not self._is_ready(id_, scene)]
        runs = [self._run(snapshot, id_, live) for id_ in fresh]
        with self._pool.holding(snapshot.models):  # what is ready waits for the others
            # Shielded: one who gives up does not take it from the others.
            waiting = map(asyncio.shield, runs)
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def close(self) -> None:
        """Leave what is in progress."""
        runs = list(self._runs.values())
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)

    def _run(self, snapshot: Snapshot, id_: str, live: frozenset[str]) -> asyncio.Task[None]:
        """The one in progress, or a new one."""
        key = id_, snapshot.scene
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = asyncio.create_task(self._take_over(snapshot, id_, live))
            run.add_done_callback(lambda _: self._runs.pop(key))
        return run

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
