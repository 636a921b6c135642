"""Build the running service from its settings: store, loader, models, scorer, application.

The one place where all rooms meet. Nothing here decides anything about a ranking.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import structlog

from service.api.app import App, Parts, build_app
from service.api.guarding import Watcher
from service.api.publishing import Publisher
from service.api.shadowing import Shadowing
from service.commands.demo import Seeder
from service.commands.first_run import run_first
from service.commands.remembering import item_listener, remember
from service.commands.reranking import rerank_by_plan
from service.commands.starting import started
from service.commands.taking_over import TakingOver
from service.commands.warming import warm_items
from service.contract.repository import Repository
from service.experiment.connection import SENTINEL_SCHEME, connect
from service.experiment.embedded import EmbeddedStore, start_embedded
from service.experiment.embedded_watch import watch_embedded
from service.experiment.errors import EmbeddedError
from service.experiment.guardrails import Guard
from service.experiment.loader import PlanLoader
from service.experiment.signing import PlanKey
from service.experiment.snapshot import Snapshot
from service.features.errors import StoreUnavailable
from service.features.item_updates import follow_changes
from service.features.store import FeatureStore
from service.metrics import Metrics
from service.scoring.admission import Admission
from service.scoring.aside import Aside
from service.scoring.item_caches import ItemCaches
from service.scoring.pace import Pace
from service.scoring.pool import ModelPool
from service.scoring.proof import Prover
from service.scoring.rehearsal import RecentRequests, Rehearsal
from service.scoring.scorer import Scorer
from service.scoring.session import runtime_version
from service.scoring.threads import cpu_budget
from service.scoring.workers import Workers
from service.settings import EMBEDDED, Settings, masked

log = structlog.get_logger("finerank.runtime")

_BUSY_SHARE = 0.001  # of the threads' time; a second after a request that took 10 ms of it
_PATIENCE_S = 1.0  # of one read from the store while nobody waits for an answer


@dataclass(frozen=True)
class Runtime:
    """A service that is built and not started; `app` starts and stops it with its lifespan."""

    settings: Settings
    app: App
    parts: Parts
    store_url: str


def build_runtime(
    settings: Settings,
    on_ready: Callable[[Parts], None] | None = None,
    is_leaving: Callable[[], bool] = lambda: False,
) -> Runtime:
    """Put the service together; the embedded store, if that is the store, is running afterwards.

    `on_ready` is called each time the service has started. `is_leaving`: whether it is to end;
    what comes before is left then.

    Raises:
        EmbeddedError: the embedded store cannot start.
        RuntimeProblem: ONNX Runtime is missing or installed twice.
        ValueError: the store's URL cannot be understood.
        NoParquet: a serving log is wanted, and pyarrow is not installed.
    """
    settings = settings.with_token()
    log.info("runtime", onnxruntime=runtime_version())
    embedded, url = _open_store(settings)
    threads = settings.threads or cpu_budget().threads
    repository, metrics = Repository(settings.models), Metrics()
    metrics.threads.set(threads)
    try:
        redis = connect(url)
        features = _feature_store(url, settings.feature_timeout_ms / 1000)
    except ValueError as err:
        raise ValueError(f"store {masked(url)!r}: {err}") from err
    remembering = remember(settings, url, metrics)
    items = ItemCaches(
        settings.item_cache_mb * 1_000_000,
        settings.item_cache_ttl_s,
        listener=item_listener(remembering),
    )
    # One thread a run: requests run beside each other, and the budget is spent on that.
    prove = Prover(settings.models, settings.model_slowdown_max, settings.model_proof_timeout_s)
    recent = RecentRequests()
    workers = Workers(threads)
    pace = Pace(lambda: comes_in(scorer.admission), lambda: workers.idle > 0)
    pool = ModelPool(repository, threads=1, prove=prove, pace=pace)
    scorer = Scorer(pool, workers, features, items=items, reranker=rerank_by_plan)

    def drop_unused(_: Snapshot) -> None:
        pool.retain(loader.models_in_use())

    async def rehearse(snapshot: Snapshot) -> None:
        await take_over(snapshot)

    loader = PlanLoader(
        redis,
        repository,
        prepare=pool.ensure,
        state_dir=settings.state_dir,
        replica=settings.replica,
        on_change=drop_unused,
        rehearse=rehearse,
        key=_plan_key(settings),
    )
    take_over = TakingOver(
        loader.snapshot,
        pool,
        items,
        lambda: _feature_store(url, _PATIENCE_S),
        Rehearsal(pool, scorer, recent, loader.snapshot, pace),
        pace,
    )
    guard = Guard()
    watcher = Watcher(Publisher(loader, pool.ensure), guard, metrics, settings.replica)
    parts = Parts(
        loader=loader,
        pool=pool,
        scorer=scorer,
        metrics=metrics,
        token=settings.write_token(),
        max_candidates=settings.max_candidates,
        max_body_bytes=settings.max_body_bytes,
        recent=recent,
        rehearse=take_over,
        guard=guard,
        shadowing=Shadowing(Aside(pool, workers, features, items), metrics),
        remembering=remembering,
    )

    hearing = asyncio.Event()  # of changes: what is kept from now on is kept up to date

    def forget_items() -> None:
        items.forget_all()
        hearing.set()

    async def start() -> None:
        """What comes before the first request."""
        if settings.demo:
            patient = _feature_store(url, _PATIENCE_S)
            try:
                await Seeder(parts, patient, settings.models, url).seed()
            finally:
                await patient.close()
        await loader.start()
        if remembering.log is not None:
            remembering.log.start()
        with contextlib.suppress(StoreUnavailable):
            await features.fetch("", "", ())  # connects: the first request should not wait for it
        await run_first(loader, pool, items)
        if settings.warm_items:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hearing.wait(), _PATIENCE_S)
            patient = _feature_store(url, _PATIENCE_S)
            await warm_items(settings.warm_items, loader, pool, items, patient)

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        tasks = [asyncio.create_task(follow_changes(redis, items.forget, forget_items))]
        try:
            if await started(start(), is_leaving):
                tasks += [asyncio.create_task(loader.run()), asyncio.create_task(watcher.run())]
                if embedded is not None:
                    tasks.append(asyncio.create_task(watch_embedded(embedded)))
                # What is loaded by now stays: later collections need not walk it.
                gc.collect()
                gc.freeze()
                if on_ready is not None:
                    on_ready(parts)
            else:
                log.info("left_while_starting")
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await loader.close()
            await take_over.close()
            prove.close()
            workers.close()
            if remembering.log is not None:
                await asyncio.to_thread(remembering.log.close)
            pool.close()
            await features.close()
            await redis.aclose()
            if embedded is not None:
                await asyncio.to_thread(embedded.close)

    return Runtime(settings, build_app(parts, lifespan), parts, url)


def comes_in(admission: Admission) -> bool:
    """Whether requests come in now, let in or not: background work leaves them the CPU."""
    return admission.in_progress > 0 or admission.offered > _BUSY_SHARE


def _plan_key(settings: Settings) -> PlanKey | None:
    return None if settings.plan_key is None else PlanKey(settings.plan_key.get_secret_value())


def _feature_store(url: str, timeout_s: float) -> FeatureStore:
    """The store's own client, except where it does not know the scheme."""
    if url.startswith(f"{SENTINEL_SCHEME}:"):
        return FeatureStore(connect(url, timeout_s=timeout_s), timeout_s)
    return FeatureStore.from_url(url, timeout_s)


def _open_store(settings: Settings) -> tuple[EmbeddedStore | None, str]:
    if settings.store != EMBEDDED:
        return None, settings.store
    try:
        embedded = start_embedded(settings.state_dir)
    except EmbeddedError as err:
        if err.url is None:
            raise
        # It runs and does not answer: plans come from disk until it does.
        log.warning("embedded_store_silent", reason=str(err))
        return None, err.url
    return embedded, embedded.url
