"""What an item cache has for a request: by its items' ids, or by what the model sees of them."""

from dataclasses import dataclass

from service.scoring.item_cache import ItemCache
from service.scoring.item_caches import ItemCaches
from service.scoring.item_slots import Lease
from service.scoring.package import LoadedModel
from service.scoring.ranking import RankInput


@dataclass(frozen=True)
class Kept:
    """The cache of a model, and what it had for a request.

    `learns`: what it lacked is certain; after an outage of the store it is not.
    """

    cache: ItemCache
    lease: Lease
    learns: bool = True


@dataclass(frozen=True)
class ByContent:
    """The cache of a model, to be asked once the items are encoded."""

    cache: ItemCache


def look_up(
    caches: ItemCaches | None, request: RankInput, model: LoadedModel
) -> Kept | ByContent | None:
    """What the model's cache has, or how it is asked; None without a cache.

    Requests that bring item features, or need every item's values, ask by content.
    """
    cache = None if caches is None else caches.of(model)
    if cache is None:
        return None
    if request.item_columns or request.explain:
        return ByContent(cache)
    return Kept(cache, cache.look_up(request.scene, request.ids))
