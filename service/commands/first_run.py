"""Score golden items once before the first request, which would wait for memory and code in vain.

Nothing is learned from it: neither what work costs nor what an item gives.
"""

import asyncio
import time

import structlog

from service.experiment.loader import PlanLoader
from service.experiment.snapshot import Snapshot
from service.features.store import Fetched
from service.scoring.errors import RunFailed
from service.scoring.item_caches import ItemCaches
from service.scoring.package import LoadedModel
from service.scoring.pool import ModelPool
from service.scoring.prepared import Kept
from service.scoring.ranking import RankInput
from service.scoring.scored import score
from service.scoring.session import Stop

_TIMES = 2

log = structlog.get_logger("finerank.first_run")


async def run_first(loader: PlanLoader, pool: ModelPool, caches: ItemCaches) -> None:
    """Score with the live formula of every scene and every model that it may use."""
    for scene in loader.scenes():
        snapshot = loader.snapshot(scene)
        for model in map(pool.get, snapshot.models if snapshot else ()):
            if snapshot is not None and model is not None:
                try:
                    await asyncio.to_thread(_score, scene, snapshot, model, caches)
                except RunFailed as err:
                    log.warning("first_run_failed", scene=scene, model=model.id, reason=str(err))


def _score(scene: str, snapshot: Snapshot, model: LoadedModel, caches: ItemCaches) -> None:
    ids = list(dict.fromkeys(str(row["item"]["id"]) for row in model.golden.raw))
    request = RankInput("first-run", scene, ids, deadline=float("inf"))
    cache, nothing = caches.of(model), Fetched.nothing(len(ids))
    for _ in range(_TIMES):
        kept = None
        if cache is not None and not cache.has_listener:  # whose log holds real items only
            kept = Kept(cache, cache.look_up(scene, ids), learns=False)
        treatment, clock = snapshot.default, time.monotonic
        score(request, treatment, model, nothing, kept, Stop(), clock, clock())
