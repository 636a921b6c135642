"""The item caches of this process: one for each loaded model that is cut."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from weakref import WeakKeyDictionary

from service.scoring.graphs import CutGraphs
from service.scoring.item_cache import ItemCache, ItemRecords
from service.scoring.package import LoadedModel


class ItemCaches:
    """Makes a model's cache when it is first asked for; it ends with its model.

    `max_bytes` and `ttl_s` hold for each of them; no bytes, no caches. Call it on the event loop.
    `listener` hears of the records that items of a model, "name/version", were computed from.
    """

    def __init__(
        self,
        max_bytes: int,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
        listener: Callable[[str, ItemRecords], None] | None = None,
    ) -> None:
        self._max_bytes, self._ttl_s, self._clock = max_bytes, ttl_s, clock
        self._listener = listener
        self._caches: WeakKeyDictionary[LoadedModel, ItemCache] = WeakKeyDictionary()

    def of(self, model: LoadedModel) -> ItemCache | None:
        """The cache of a model; None for one that is served whole."""
        cache = self._caches.get(model)
        if cache is None and isinstance(model.graphs, CutGraphs) and self._max_bytes:
            cache = ItemCache(
                model.schema,
                model.graphs.part_width,
                model.graphs.part_dtype,
                max_bytes=self._max_bytes,
                ttl_s=self._ttl_s,
                clock=self._clock,
                listener=self._listener and partial(self._listener, model.id),
            )
            self._caches[model] = cache
        return cache

    def forget(self, scene: str, ids: Iterable[str]) -> None:
        """These items of a scene changed."""
        ids = list(ids)
        for cache in self._caches.values():
            cache.forget(scene, ids)

    def forget_all(self) -> None:
        """Any item may have changed."""
        for cache in self._caches.values():
            cache.forget_all()

    def bytes(self) -> dict[str, int]:
        """Model -> memory in use."""
        return {model.id: cache.bytes for model, cache in self._caches.items()}
