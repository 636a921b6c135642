"""Rehearse a plan with the last real requests before it serves: warm its models, and look at them.

A new model's first runs are slow (memory is touched for the first time, caches are empty), and
real users and items reach weights that golden rows do not.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from service.contract.errors import PackageError
from service.features.errors import InlineError
from service.scoring.admission import Admission, Overloaded, Ticket
from service.scoring.errors import NotScored
from service.scoring.pace import UNPACED, Pace
from service.scoring.pool import ModelPool
from service.scoring.ranking import RankInput, RankOutput, Snapshot

MODEL_FAILED = "model_failed"
_PATIENCE_S = 5.0
_KEPT = 8  # requests a scene


class Ranks(Protocol):
    """The scorer."""

    @property
    def admission(self) -> Admission: ...

    async def rank(
        self, request: RankInput, snapshot: Snapshot, ticket: Ticket | None = None
    ) -> RankOutput: ...


class RecentRequests:
    """The last requests of each scene; scenes come from plans, so they are few."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._of: defaultdict[str, deque[RankInput]] = defaultdict(lambda: deque(maxlen=kept))

    def add(self, request: RankInput) -> None:
        if request.ids:
            self._of[request.scene].append(request)

    def of(self, scene: str) -> tuple[RankInput, ...]:
        return tuple(self._of[scene]) if scene in self._of else ()


@dataclass(frozen=True)
class Rehearsal:
    """Ranks recent requests under snapshots that are not live yet.

    `live`: the live snapshot of a scene; what it cannot score either is no fault of the new model.
    `pace`: between the runs, which themselves do not count as requests that come in.
    """

    pool: ModelPool
    scorer: Ranks
    recent: RecentRequests
    live: Callable[[str], Snapshot | None]
    pace: Pace = UNPACED

    async def __call__(self, scene: str, variants: Iterable[tuple[str, Snapshot]]) -> None:
        """Rehearse each (model id, snapshot that gives everybody that model).

        Raises:
            PackageError: a run fails, a value is refused, or a head is no number, and the live
                model has no such trouble; or the model is not loaded.
        """
        for id_, snapshot in variants:
            self._expect_loaded(id_, scene)
            for request in self.recent.of(scene):
                wrong = await self._trouble(request, snapshot)
                self._expect_loaded(id_, scene)
                if wrong is None:
                    continue
                live = self.live(scene)
                if live is not None and await self._trouble(request, live) is not None:
                    continue
                why = f"{id_}: on a recent request of scene {scene!r}, {wrong}"
                self.pool.refuse(id_, why)
                raise PackageError(why)

    def _expect_loaded(self, id_: str, scene: str) -> None:
        """Without it nothing was rehearsed, which is no fault of the model's: load it again."""
        if self.pool.get(id_) is None:
            raise PackageError(
                f"{id_}: it is not loaded any more, and was not rehearsed for scene {scene!r}"
            )

    async def _trouble(self, request: RankInput, snapshot: Snapshot) -> str | None:
        """What a model does wrong with a request; a busy service is no fault of the model's."""
        request = replace(
            request, deadline=time.monotonic() + _PATIENCE_S, heads=True, explain=False
        )
        try:
            output = await self._rank(request, snapshot)
        except InlineError as err:
            return str(err)
        except NotScored as err:
            return "the run fails" if err.reason == MODEL_FAILED else None
        except Overloaded:
            return None
        if MODEL_FAILED in output.degraded:
            return "the run fails"
        wrong = [name for name, head in output.heads.items() if not np.isfinite(head).all()]
        return f"head {wrong[0]!r} is not finite" if wrong else None

    async def _rank(self, request: RankInput, snapshot: Snapshot) -> RankOutput:
        """Rank, and rest as long as the work that took calls for."""
        ticket = self.scorer.admission.enter(_PATIENCE_S, is_offered=False)
        try:
            return await self.scorer.rank(request, snapshot, ticket)
        finally:
            ticket.leave()
            await self.pace.rest(ticket.worked_s)
