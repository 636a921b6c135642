"""Let a model take over in a scene: warm its items, rehearse it with recent requests; both once."""

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
    """Called with a snapshot before it goes live.

    A loaded model that has been through it for a scene is ready there, whoever asks again: first
    the one who promotes it, then the loader, which may ask several times.

    `in_use`: the models of the live snapshots. `open_store`: a patient client, closed after use.
    """

    def __init__(
        self,
        in_use: Callable[[], frozenset[str]],
        pool: ModelPool,
        items: ItemCaches,
        open_store: Callable[[], FeatureStore],
        rehearsal: Rehearsal,
        pace: Pace,
    ) -> None:
        self._in_use, self._pool, self._items = in_use, pool, items
        self._open_store, self._rehearsal, self._pace = open_store, rehearsal, pace
        self._ready: WeakKeyDictionary[LoadedModel, set[str]] = WeakKeyDictionary()

    async def __call__(self, snapshot: Snapshot) -> None:
        """Make the models ready that no live snapshot uses.

        Raises:
            PackageError: see Rehearsal.
        """
        scene, live = snapshot.scene, self._in_use()
        fresh = {id_ for id_ in snapshot.models - live if not self._is_ready(id_, scene)}
        if not fresh:
            return
        with self._pool.holding(fresh):
            store = self._open_store()
            await warm_like(snapshot, fresh, live, self._pool, self._items, store, self._pace)
            await self._rehearsal(scene, one_model_each(snapshot, fresh))
            for model in filter(None, map(self._pool.get, fresh)):
                self._ready.setdefault(model, set()).add(scene)

    def _is_ready(self, id_: str, scene: str) -> bool:
        model = self._pool.get(id_)
        return model is not None and scene in self._ready.get(model, ())
