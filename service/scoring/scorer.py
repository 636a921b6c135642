"""Rank one request within its deadline: assign, fetch features, encode, run, fuse, order.

Knows nothing of HTTP. What awaits is here; what computes is in `scored`, on a worker thread.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import structlog

from service.contract.encode import Counts
from service.features.errors import StoreUnavailable
from service.features.resolve import needs_store
from service.features.store import FeatureStore, Fetched
from service.scoring.errors import RunFailed
from service.scoring.package import LoadedModel
from service.scoring.pool import ModelPool
from service.scoring.ranking import RankInput, RankOutput, Snapshot, Treatment
from service.scoring.scored import Scored, score
from service.scoring.session import Stop
from service.scoring.stages import Stages
from service.scoring.workers import Late, Workers

log = structlog.get_logger(__name__)

DEADLINE, FEATURE_STORE, BAD_FEATURE = "deadline", "feature_store", "bad_feature"
INVALID_SCORE, MODEL_FAILED, MODEL_MISSING = "invalid_score", "model_failed", "model_missing"


class Scorer:
    """Ranks requests with the models of a pool.

    `reserve_s` before the deadline is kept for writing and sending the answer. `clock` is the one
    of `RankInput.deadline`.
    """

    def __init__(
        self,
        pool: ModelPool,
        workers: Workers,
        store: FeatureStore | None,
        *,
        reserve_s: float = 0.003,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._workers = workers
        self._store = store
        self._reserve_s = reserve_s
        self._clock = clock
        self._store_answers = True

    async def rank(self, request: RankInput, snapshot: Snapshot) -> RankOutput:
        """Rank the candidates, or answer them in input order with the reason why not.

        Raises:
            InlineError: a value of the request that its feature cannot take.
        """
        stages = Stages(self._clock)
        with stages.timed("assign"):
            treatment = snapshot.assign(request.user_id, request.request_id, request.context)
        unscored = partial(_in_input_order, request, snapshot, treatment, stages)
        model = self._pool.get(treatment.model)
        if model is None:
            return unscored({MODEL_MISSING: len(request.ids)})
        if not request.ids:
            return unscored({}, heads=model.manifest.head_names)

        finish_at = request.deadline - self._reserve_s
        if self._clock() >= finish_at:
            return unscored({DEADLINE: len(request.ids)})
        with stages.timed("features"):
            fetched = await self._fetch(request, model, finish_at)
        degraded = {} if fetched is not None else {FEATURE_STORE: len(request.ids)}
        fetched = fetched or Fetched.nothing(len(request.ids))
        stop = Stop()
        now = self._clock()
        work = partial(score, request, treatment, model, fetched, stop, self._clock, now)
        try:
            scored = await self._workers.run(work, timeout_s=finish_at - now, stop=stop.set)
        except Late:
            return unscored(degraded | {DEADLINE: len(request.ids)})
        except RunFailed as err:
            log.error("model run failed", model=model.id, scene=request.scene, error=str(err))
            return unscored(degraded | {MODEL_FAILED: len(request.ids)})
        return _ranked(request, snapshot, treatment, scored, degraded, stages)

    async def _fetch(
        self, request: RankInput, model: LoadedModel, finish_at: float
    ) -> Fetched | None:
        """Stored features; None when the store takes longer than half of the time left."""
        if self._store is None or not needs_store(model.schema, request.inline):
            return Fetched.nothing(len(request.ids))
        try:
            fetched = await self._store.fetch(
                request.scene, request.user_id, request.ids, (finish_at - self._clock()) / 2
            )
        except StoreUnavailable as err:
            # once an outage: replies and metrics count every request of it
            if self._store_answers:
                log.warning("feature store does not answer", scene=request.scene, error=str(err))
            self._store_answers = False
            return None
        if not self._store_answers:
            log.info("feature store answers again", scene=request.scene)
        self._store_answers = True
        return fetched


def _ranked(
    request: RankInput,
    snapshot: Snapshot,
    treatment: Treatment,
    scored: Scored,
    degraded: dict[str, int],
    stages: Stages,
) -> RankOutput:
    found = {BAD_FEATURE: scored.bad_features, INVALID_SCORE: int((~scored.valid).sum())}
    return RankOutput(
        order=scored.order[: request.limit],
        scores=scored.scores,
        valid=scored.valid,
        heads=scored.heads if request.heads or request.explain else {},
        treatment=treatment,
        plan=snapshot.version,
        degraded=degraded | {reason: count for reason, count in found.items() if count},
        counts=scored.counts,
        timings_ms={**stages.ms, **scored.timings_ms},
        explained=scored.explained,
    )


def _in_input_order(
    request: RankInput,
    snapshot: Snapshot,
    treatment: Treatment,
    stages: Stages,
    degraded: dict[str, int],
    heads: tuple[str, ...] = (),
) -> RankOutput:
    rows = len(request.ids)
    return RankOutput(
        order=np.arange(rows)[: request.limit],
        scores=np.full(rows, np.nan),
        valid=np.zeros(rows, bool),
        heads={name: np.zeros(rows, np.float32) for name in heads},
        treatment=treatment,
        plan=snapshot.version,
        degraded=degraded,
        counts=Counts(),
        timings_ms=stages.ms,
    )
