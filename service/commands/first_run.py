"""Score golden items once before the first request, which would wait for memory and code in vain.

Nothing is learned from it: neither what work costs nor what an item gives.
"""

import asyncio
import time

import structlog

from service.experiment.loader import PlanLoader
from service.experiment.snapshot import Snapshot
from service.experiment.variants import one_model_each
from service.features.store import Fetched
from service.scoring.item_cache import ItemCache
from service.scoring.item_caches import ItemCaches
from service.scoring.kept import Kept
from service.scoring.package import LoadedModel
from service.scoring.pool import ModelPool
from service.scoring.ranking import RankInput
from service.scoring.scored import score
from service.scoring.session import Stop

_TIMES = 2

log = structlog.get_logger("finerank.first_run")


async def run_first(loader: PlanLoader, pool: ModelPool, caches: ItemCaches) -> None:
    """Score with every scene's default under each model that its plan may use.

    What fails is logged: the requests will say it, or have no such trouble.
    """
    for scene in loader.scenes():
        snapshot = loader.snapshot(scene)
        if snapshot is None:
            continue
        for id_, alone in one_model_each(snapshot, snapshot.models):
            model = pool.get(id_)
            if model is None:
                continue
            cache = caches.of(model)
            try:
                await asyncio.to_thread(_score, scene, alone, model, cache)
            except Exception as err:
                log.warning("first_run_failed", scene=scene, model=id_, reason=str(err))


def _score(scene: str, snapshot: Snapshot, model: LoadedModel, cache: ItemCache | None) -> None:
    rows = enumerate(model.golden.raw)
    ids = list(dict.fromkeys(str(row["item"].get("id", number)) for number, row in rows))
    request = RankInput("first-run", scene, ids, deadline=float("inf"))
    nothing = Fetched.nothing(len(ids))
    for _ in range(_TIMES):
        kept = None
        if cache is not None and not cache.has_listener:  # whose log holds real items only
            kept = Kept(cache, cache.look_up(scene, ids), learns=False)
        treatment, clock = snapshot.default, time.monotonic
        score(request, treatment, model, nothing, kept, Stop(), clock, clock())
