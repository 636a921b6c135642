"""Rank one request within its deadline: assign, fetch features, encode, run, fuse, order.

Knows nothing of HTTP. What awaits is here; what computes is in `scored`, on a worker thread.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from service.features.errors import StoreUnavailable
from service.features.resolve import needs_items, needs_user
from service.features.store import FeatureStore, Fetched
from service.scoring.admission import Admission, Ticket
from service.scoring.answers import in_input_order, ranked
from service.scoring.cost import FEATURES, CostModel
from service.scoring.errors import NotScored, RunFailed, RunStopped
from service.scoring.explaining import Explaining
from service.scoring.item_caches import ItemCaches
from service.scoring.kept import ByContent, Kept, look_up
from service.scoring.ladder import INPUT_ORDER, Choice, choose
from service.scoring.package import LoadedModel
from service.scoring.pool import ModelPool
from service.scoring.ranking import RankInput, RankOutput, Snapshot, Treatment
from service.scoring.reranking import Reranker, no_rules
from service.scoring.scored import Scored, score
from service.scoring.session import Stop
from service.scoring.stages import Stages
from service.scoring.workers import Late, Workers

log = structlog.get_logger(__name__)

DEADLINE, FEATURE_STORE = "deadline", "feature_store"
MODEL_FAILED, MODEL_MISSING = "model_failed", "model_missing"
FEWER_CANDIDATES, LIGHTER_MODEL = "fewer_candidates", "lighter_model"


@dataclass
class _Ranking:
    """One request on its way. `degraded`: reason -> candidates, as found so far."""

    request: RankInput
    snapshot: Snapshot
    treatment: Treatment
    stages: Stages
    degraded: dict[str, int] = field(default_factory=dict)

    def unscored(self, reason: str) -> RankOutput:
        """The input order, if the plan's ladder allows it.

        Raises:
            NotScored: it does not.
        """
        rows = len(self.request.ids)
        ladder = self.snapshot.ladder
        if not ladder or ladder[-1].step != INPUT_ORDER:
            raise NotScored(reason, rows, self.treatment.assignments)
        # What was given up on the way to no scores at all no longer matters.
        kept = {r: n for r, n in self.degraded.items() if r == FEATURE_STORE}
        return in_input_order(
            self.request, self.snapshot, self.treatment, self.stages.ms, kept | {reason: rows}
        )


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
        items: ItemCaches | None = None,
        reranker: Reranker = no_rules,
        reserve_s: float = 0.003,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.admission = Admission(workers.threads, clock, reserve_s=reserve_s)
        self.costs = CostModel(clock)
        self.items = items
        self._reranker = reranker
        self._pool = pool
        self._workers = workers
        self._store = store
        self._clock = clock
        self._store_answers = True

    async def rank(
        self, request: RankInput, snapshot: Snapshot, ticket: Ticket | None = None
    ) -> RankOutput:
        """Rank the candidates, or as many as there is time for, and say what was given up.

        `ticket` is this request's, where it was let in before its body was read.

        Raises:
            InlineError: a value of the request that its feature cannot take.
            Overloaded: the requests in progress leave it no time.
            NotScored: nothing was scored, and the plan does not want the input order then.
        """
        stages = Stages(self._clock)
        with stages.timed("assign"):
            treatment = snapshot.assign(
                request.user_id, request.request_id, request.context, request.user, request.asked
            )
        ranking = _Ranking(request, snapshot, treatment, stages)
        model = self._pool.get(treatment.model)
        if model is None:
            return ranking.unscored(MODEL_MISSING)
        if not request.ids:
            heads = model.manifest.head_names
            return in_input_order(request, snapshot, treatment, stages.ms, {}, heads)
        own = ticket or self.admission.enter(request.deadline - self._clock())
        try:
            return await self._rank(ranking, own)
        finally:
            if ticket is None:
                own.leave()

    async def _rank(self, ranking: _Ranking, ticket: Ticket) -> RankOutput:
        request = ranking.request
        finish_at = request.deadline - self.admission.reserve_s
        if self._clock() >= finish_at:
            return ranking.unscored(DEADLINE)
        self.admission.settle(ticket, finish_at)
        choice = self._choose(ranking, ticket, finish_at)
        if choice is None:
            return ranking.unscored(DEADLINE)
        ticket.expect(choice.work_s, finish_at)
        model = self._pool.get(choice.treatment.model)
        assert model is not None, "a choice names a loaded model"
        asked = request.first(choice.rows)
        if choice.rows < len(request.ids):
            ranking.degraded[FEWER_CANDIDATES] = len(request.ids) - choice.rows
        if choice.treatment is not ranking.treatment:
            ranking.degraded[LIGHTER_MODEL] = choice.rows
        with ranking.stages.timed("features"):
            kept = look_up(self.items, asked, model)
            ids = kept.lease.missing_ids if isinstance(kept, Kept) else asked.ids
            fetched = await self._fetch(asked, ids, model, finish_at)
        if fetched is None:
            ranking.degraded[FEATURE_STORE] = choice.rows
            fetched = Fetched.nothing(len(ids))
            if isinstance(kept, Kept):
                kept = replace(kept, learns=False)
        try:
            explaining = Explaining.of(asked, ranking.snapshot)
            scored = await self._score(
                asked, choice, model, fetched, kept, ticket, finish_at, explaining
            )
        except (Late, RunStopped):
            return ranking.unscored(DEADLINE)
        except RunFailed as err:
            log.error("model run failed", model=model.id, scene=request.scene, error=str(err))
            return ranking.unscored(MODEL_FAILED)
        timings_ms = {**ranking.stages.ms, **scored.timings_ms}
        # A cost is what threads work in all, however many of them.
        busy_ms = {**timings_ms, "infer": timings_ms["infer"] + scored.helped_ms}
        self.costs.observe(model.id, choice.rows, busy_ms)
        return ranked(
            request,
            ranking.snapshot,
            choice.treatment,
            scored,
            ranking.degraded,
            timings_ms,
            found_items=kept.lease.found if isinstance(kept, Kept) else None,
        )

    def _choose(self, ranking: _Ranking, ticket: Ticket, finish_at: float) -> Choice | None:
        """How far down its ladder this request must go to be done by `finish_at`."""
        model, rows = ranking.treatment.model, len(ranking.request.ids)
        if ticket.is_offered:
            self.admission.saw(rows, self.costs.work(model, rows).mean)
        # Features are fetched while the work of others is being done.
        before_s = max(self.admission.wait_s(ticket), self.costs.stage(model, FEATURES, rows))
        return choose(
            ranking.snapshot.ladder,
            ranking.treatment,
            rows,
            seconds=finish_at - self._clock() - before_s,
            costs=self.costs,
            idle=self.admission.is_idle_but_for(ticket),
            may_cut=not ranking.request.explain,
            is_loaded=lambda id_: self._pool.get(id_) is not None,
        )

    async def _score(
        self,
        asked: RankInput,
        choice: Choice,
        model: LoadedModel,
        fetched: Fetched,
        kept: Kept | ByContent | None,
        ticket: Ticket,
        finish_at: float,
        explaining: Explaining | None,
    ) -> Scored:
        """Score on a worker thread; costs are checked again before encoding and before inference.

        Raises:
            Late, RunStopped: it could not be done by `finish_at`, or would not have been.
            InlineError, RunFailed: see `score`.
        """
        rows, now, stop = choice.rows, self._clock(), Stop()
        begin_by = infer_by = float("inf")
        if not choice.is_trial:
            begin_by = finish_at - self.costs.work(model.id, rows).mean
            infer_by = finish_at - self.costs.stage(model.id, "infer", rows)

        def work() -> tuple[Scored, float]:
            if self._clock() > begin_by:
                raise Late
            scored = score(
                asked,
                choice.treatment,
                model,
                fetched,
                kept,
                stop,
                self._clock,
                now,
                infer_by,
                explaining,
                self._reranker,
                turn,
            )
            return scored, self._clock()

        def stopped() -> None:
            stop.set()
            self.admission.was_late(self._clock() - finish_at)

        if now >= finish_at:
            raise Late
        turn = _Turn(
            ticket, self._workers, lambda seconds: self._learn_late(model.id, choice, stop, seconds)
        )
        ticket.hand_over()
        scored, done_at = await self._workers.run(
            work, timeout_s=finish_at - now, stop=stopped, turn=turn
        )
        self.admission.was_late(self._clock() - done_at)
        return scored

    def _learn_late(self, model: str, choice: Choice, stop: Stop, seconds: float) -> None:
        if stop.is_set:
            self.costs.observe_stopped(model, choice.rows, seconds, is_trial=choice.is_trial)

    async def _fetch(
        self, asked: RankInput, of: Sequence[str], model: LoadedModel, finish_at: float
    ) -> Fetched | None:
        """Stored features of the user and the items `of`; None when the store takes longer than
        half of the time left.
        """
        scene, inline = asked.scene, asked.inline
        user_id = inline.user_id if needs_user(model.schema, inline) else None
        ids = of if of and needs_items(model.schema, inline) else ()
        if self._store is None or (user_id is None and not ids):
            return Fetched.nothing(len(of))
        try:
            fetched = await self._store.fetch(scene, user_id, ids, (finish_at - self._clock()) / 2)
        except StoreUnavailable as err:
            # once an outage: replies and metrics count every request of it
            if self._store_answers:
                log.warning("feature store does not answer", scene=scene, error=str(err))
            self._store_answers = False
            return None
        if not self._store_answers:
            log.info("feature store answers again", scene=scene)
        self._store_answers = True
        return fetched if ids or not of else Fetched(fetched.user, [None] * len(of))


@dataclass(frozen=True)
class _Turn:
    """A ticket at the workers, who may share its work. `learn` is told how long work took that
    began.
    """

    ticket: Ticket
    workers: Workers
    learn: Callable[[float], None]

    @property
    def idle(self) -> int:
        return self.workers.idle

    def share(self, tasks: Sequence[Callable[[], None]]) -> float:
        try:
            return self.workers.share(tasks, self._joined)
        finally:
            self.ticket.threads = 1

    def _joined(self, threads: int) -> None:
        self.ticket.threads = threads

    def started(self) -> None:
        self.ticket.started()

    def finished(self) -> None:
        self.ticket.finished()
        if self.ticket.started_at is not None and self.ticket.ended_at is not None:
            self.learn(self.ticket.ended_at - self.ticket.started_at)
