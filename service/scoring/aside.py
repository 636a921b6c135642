"""Score a request once more, under another treatment, with what the answers leave over.

Nobody waits for it: it begins only where a thread is free, and ends when a request needs that one.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from service.features.errors import StoreUnavailable
from service.features.resolve import needs_items, needs_user
from service.features.store import FeatureStore, Fetched
from service.scoring.errors import RunStopped
from service.scoring.item_caches import ItemCaches
from service.scoring.kept import Kept, look_up
from service.scoring.pool import ModelPool
from service.scoring.ranking import RankInput, Treatment
from service.scoring.scored import Scored, score
from service.scoring.session import Stop
from service.scoring.workers import Workers

_FETCH_S = 0.2


class Busy(Exception):
    """Requests need the threads; or the model or the store is not there now."""


@dataclass(frozen=True)
class Aside:
    """Scores with the models of a pool and the features that answers get, too."""

    pool: ModelPool
    workers: Workers
    store: FeatureStore | None
    items: ItemCaches | None = None
    clock: Callable[[], float] = time.monotonic

    async def score(self, request: RankInput, treatment: Treatment) -> Scored:
        """Score the candidates of `request`, which brings no explanations.

        Raises:
            Busy: it did not begin.
            RunStopped: requests came in its way.
            RunFailed, InlineError: see `scored.score`.
        """
        model = self.pool.get(treatment.model)
        if model is None or not self.workers.idle:
            raise Busy
        kept, inline = look_up(self.items, request, model), request.inline
        if isinstance(kept, Kept):
            inline = replace(inline, ids=kept.lease.missing_ids)
        fetched = Fetched.nothing(len(inline.ids))
        user_id = inline.user_id if needs_user(model.schema, inline) else None
        ids = inline.ids if needs_items(model.schema, inline) else ()
        if self.store is not None and (user_id is not None or ids):
            try:
                found = await self.store.fetch(request.scene, user_id, ids, _FETCH_S)
            except StoreUnavailable as err:
                raise Busy from err
            fetched = found if ids else replace(fetched, user=found.user)
        if not self.workers.idle:
            raise Busy
        return await self._run(
            lambda stop: score(
                request, treatment, model, fetched, kept, stop, self.clock, self.clock()
            )
        )

    async def _run(self, work: Callable[[Stop], Scored]) -> Scored:
        loop, stop = asyncio.get_running_loop(), Stop()
        result: asyncio.Future[Scored] = loop.create_future()

        def tell(outcome: Scored | BaseException) -> None:
            if result.done():
                return
            if isinstance(outcome, BaseException):
                result.set_exception(outcome)
            else:
                result.set_result(outcome)

        def run() -> None:
            outcome: Scored | BaseException
            try:
                if stop.is_set:
                    raise RunStopped
                outcome = work(stop)
            except Exception as err:
                outcome = err
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, outcome)

        if not self.workers.offer(run, stop.set):
            raise Busy
        try:
            return await result
        finally:
            stop.set()
