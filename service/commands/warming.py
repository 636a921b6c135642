"""Fill the item caches before the first request, for every scene and every model it may use."""

import asyncio
import itertools
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import structlog

from service.experiment.loader import PlanLoader
from service.experiment.snapshot import Snapshot
from service.features.errors import LoadError, StoreUnavailable
from service.features.record_files import Row, open_records
from service.features.store import FeatureStore, Fetched
from service.scoring.errors import RunFailed
from service.scoring.item_cache import ItemCache
from service.scoring.item_caches import ItemCaches
from service.scoring.kept import Kept
from service.scoring.pace import UNPACED, Pace
from service.scoring.package import LoadedModel
from service.scoring.pool import ModelPool
from service.scoring.prepared import fill

ALL = "all"
BATCH = 512
BESIDE = 64  # items at once while requests are being ranked: 3 ms of work
PATIENCE_S = 60.0  # of a version that waits to take over: 100,000 items beside requests
_RECORDS = {".jsonl", ".ndjson", ".csv", ".parquet"}

log = structlog.get_logger("finerank.items")


async def warm_items(
    which: str, loader: PlanLoader, pool: ModelPool, caches: ItemCaches, store: FeatureStore
) -> None:
    """Compute the parts of items: `all` in the store, or those of a file (see `read_ids`).

    What cannot be read is logged and left to the requests; `store` is closed.
    """
    try:
        for scene in loader.scenes():
            snapshot = loader.snapshot(scene)
            ids = await _ids(which, scene, store)
            for model in map(pool.get, snapshot.models if snapshot else ()):
                if model is not None:
                    await _fill(scene, ids, model, caches, store)
    except (LoadError, OSError, StoreUnavailable) as err:
        log.warning("items_not_warmed", reason=str(err))
    finally:
        await store.close()


async def warm_like(
    snapshot: Snapshot,
    fresh: str,
    live: Iterable[str],
    pool: ModelPool,
    caches: ItemCaches,
    store: FeatureStore,
    pace: Pace = UNPACED,
) -> None:
    """Give the cache of the model `fresh` the items that those of `live` hold, beside traffic.

    A version that takes over with an empty cache would compute every item anew in its first
    requests, for twice the time. Those used last come first, and stay the last to leave; after
    `PATIENCE_S` the rest is left to the requests. `store` is closed.
    """
    until = time.monotonic() + PATIENCE_S
    try:
        known = [cache for model in map(pool.get, live) if model and (cache := caches.of(model))]
        used_at = await asyncio.to_thread(_used_at, known, snapshot.scene)
        model = pool.get(fresh)
        if used_at and model is not None:
            ids = list(used_at)
            await _fill(snapshot.scene, ids, model, caches, store, pace, until, used_at)
    except (OSError, StoreUnavailable, RunFailed) as err:
        log.warning("items_not_warmed", reason=str(err))
    finally:
        await store.close()


def read_ids(path: Path) -> Iterator[str]:
    """Ids of a file of records (JSONL, CSV, Parquet), else of a text file with one id a line.

    Raises:
        LoadError, OSError: the file cannot be read.
    """
    if path.suffix in _RECORDS:
        yield from (row.id for row in open_records(path).rows() if isinstance(row, Row))
        return
    with path.open(encoding="utf-8") as lines:
        yield from (line.strip() for line in lines if line.strip())


def _used_at(caches: Iterable[ItemCache], scene: str) -> dict[str, float]:
    """When each id that any of the caches keeps was last used, the last one first."""
    found: dict[str, float] = {}
    for cache in caches:
        for id_, at in cache.used_at(scene).items():
            found[id_] = max(at, found.get(id_, at))
    return dict(sorted(found.items(), key=lambda item: item[1], reverse=True))


async def _ids(which: str, scene: str, store: FeatureStore) -> list[str]:
    if which == ALL:
        found = [id_ async for id_ in store.item_ids(scene)]
    else:
        found = await asyncio.to_thread(lambda: list(read_ids(Path(which))))
    return list(dict.fromkeys(found))


async def _fill(
    scene: str,
    ids: Sequence[str],
    model: LoadedModel,
    caches: ItemCaches,
    store: FeatureStore,
    pace: Pace = UNPACED,
    until: float = math.inf,
    used_at: Mapping[str, float] | None = None,
) -> None:
    cache = caches.of(model)
    if cache is None:
        return
    done = 0
    fitting = iter(ids[: cache.slots])
    while time.monotonic() < until and (
        some := list(itertools.islice(fitting, BESIDE if pace.is_busy() else BATCH))
    ):
        kept = Kept(cache, cache.look_up(scene, some))
        if missing := kept.lease.missing_ids:
            fetched = await store.fetch(scene, None, missing)
            await pace.rest(await asyncio.to_thread(_fill_timed, model, kept, fetched, used_at))
        else:
            await asyncio.sleep(0)
        done += len(some)
    log.info(
        "items_warmed", scene=scene, model=model.id, items=done, of=len(ids), bytes=cache.bytes
    )


def _fill_timed(
    model: LoadedModel, kept: Kept, fetched: Fetched, used_at: Mapping[str, float] | None
) -> float:
    """CPU seconds that it took."""
    began = time.thread_time()
    fill(model, kept, fetched, used_at)
    return time.thread_time() - began
