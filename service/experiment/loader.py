"""Keep a compiled snapshot of every scene's live plan: pub/sub wakes, a jittered poll is the truth.

Accepted plans are saved: a start without Redis serves from disk and catches up later.
"""

import asyncio
import contextlib
import random
import time
from pathlib import Path

import structlog

from service.contract.repository import Repository
from service.experiment.ahead import SOON_S
from service.experiment.aliases import Aliases, AliasStore, kept
from service.experiment.compiling import Compiling
from service.experiment.connection import UNAVAILABLE, Client
from service.experiment.document import Plan
from service.experiment.errors import DamagedAliases
from service.experiment.following import Following
from service.experiment.live import Live, OnChange
from service.experiment.news import News
from service.experiment.packages import PackageReader, ResolvedModels
from service.experiment.reports import Reporter
from service.experiment.saved import SavedPlans
from service.experiment.shelf import Shelf
from service.experiment.signing import PlanKey
from service.experiment.snapshot import Snapshot
from service.experiment.staging import Prepare, Rehearse, Sources, Staging, loaded_then
from service.experiment.store import PlanStore
from service.experiment.wake import POLL_S, is_cancelled, listen
from service.experiment.walk import model_refs

PATIENCE_S = 90.0  # for a version that somebody waits for


class PlanLoader:
    """Snapshots of all scenes, kept up to date by `run()`.

    Args:
        prepare: loads the models of a plan before it goes live; what it raises refuses the plan.
        rehearse: tries a snapshot before it goes live; what it raises refuses the plan.
        state_dir: accepted plans are saved under `plans/` in it.
        replica: the name under which this process reports to the store.
        on_change: called with each snapshot right after it went live.
        key: set, only plans that are signed with it are served.
    """

    def __init__(
        self,
        redis: Client,
        repository: Repository,
        *,
        prepare: Prepare,
        state_dir: Path,
        replica: str,
        on_change: OnChange | None = None,
        rehearse: Rehearse | None = None,
        key: PlanKey | None = None,
    ) -> None:
        self.store = PlanStore(redis)
        self.aliases = AliasStore(redis, repository)
        self.store_problem: str | None = None
        self.synced_at: float | None = None  # monotonic instant of the last whole poll
        self.repository = repository
        self.key, self.replica = key, replica
        self.shelf = Shelf(redis, key)
        self.compiling = Compiling(lambda: self._live.snapshots)
        self._redis, self._reader = redis, PackageReader(repository)
        self._wake, self._news = asyncio.Event(), News()
        self._saved = SavedPlans(state_dir / "plans")
        self._live = Live(self._saved, on_change)
        sources = Sources(self.store, self.shelf, self.aliases, self._reader, key)
        get_ready = loaded_then(prepare, rehearse)
        self._staging = Staging(sources, self.compiling, get_ready, self._stir)
        self._following = Following(
            self._live, self._staging, self.aliases, stir=self._stir, tell=self._news.tell
        )
        self._reporter = Reporter(self.store, replica)
        self._turn = asyncio.Lock()
        self._log = structlog.get_logger("finerank.plans")

    def snapshot(self, scene: str) -> Snapshot | None:
        """The live snapshot of a scene, or None; never waits."""
        return self._live.snapshots.get(scene)

    def scenes(self) -> list[str]:
        """Scenes that have a snapshot, sorted."""
        return sorted(self._live.snapshots)

    def problems(self) -> dict[str, str]:
        """Scene -> why its live plan is not the one served here."""
        return self._following.problems()

    def models_in_use(self) -> frozenset[str]:
        """Every model, as "name/version", that a live snapshot can reach."""
        return frozenset().union(*(s.models for s in self._live.snapshots.values()))

    async def models(self, plan: Plan, moved_to: Aliases | None = None) -> ResolvedModels:
        """The packages that a plan, live or a draft, would get now; for `compiling`.

        Aliases stand for what they do in the live snapshot of its scene, which may wait for where
        they point by now; with `moved_to`, they all point where the store says, and some there.

        Raises:
            DamagedAliases: nobody can say where those of a model point.
        """
        names = {ref.name for ref in model_refs(plan)}
        now = await self.aliases.read(names)
        if damaged := names - now.keys():
            raise DamagedAliases(min(damaged))
        if moved_to is None:
            return ResolvedModels(self._reader, kept(now, self._live.named(plan.scene)))
        for name, entry in moved_to.items():
            now[name] = {**now.get(name, {}), **entry}
        return ResolvedModels(self._reader, now)

    async def start(self) -> None:
        """Load every scene once, from the store or else from disk; a bad plan is only a problem."""
        self._staging.patience_s = None  # nothing is served yet that could wait for it
        await self._look()
        async with self._turn:
            for scene in await asyncio.to_thread(self._saved.scenes):
                if scene not in self._live.snapshots:
                    await self._load_saved(scene)
        self._staging.patience_s = SOON_S

    async def run(self) -> None:
        """Follow the store until cancelled; survives everything else."""
        listener = asyncio.create_task(listen(self._redis, self._wake))
        try:
            while not is_cancelled():
                await self._look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(random.uniform(*POLL_S)):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def close(self) -> None:
        """Take this replica out of the store's lists, if the store answers."""
        await self._staging.close()
        await self._reporter.leave()

    async def refresh(self) -> None:
        """Look at the store once, and load what has changed."""
        async with self._turn:
            await self._refresh()

    async def until_settled(
        self, scene: str, version: int, patience_s: float = PATIENCE_S
    ) -> str | None:
        """Wait until a published version, or a later one, is live here; say why it is not.

        Its models may have to be loaded and rehearsed first: that is waited for, `patience_s` at
        most. One that is refused, or was replaced in the store meanwhile, is not waited for.
        """
        until = asyncio.get_running_loop().time() + patience_s
        while True:
            news = self._news.next
            async with self._turn:
                if self._is_coming(scene, version):
                    await self._refresh()
            if not self._is_coming(scene, version):
                return self._following.why_refused(scene, version)
            replaced = self._following.why_replaced(scene, version)
            if replaced is not None or self.store_problem is not None:
                return replaced or self.store_problem
            try:
                async with asyncio.timeout_at(until):
                    await news.wait()
            except TimeoutError:
                return f"its models are not loaded and rehearsed after {patience_s:g} s"

    def _is_coming(self, scene: str, version: int) -> bool:
        """Whether it is neither live nor refused."""
        live = self.snapshot(scene)
        is_live = live is not None and live.version >= version
        return not is_live and self._following.why_refused(scene, version) is None

    def _stir(self) -> None:
        """Something can be done: in `run`, or by whoever waits."""
        self._wake.set()
        self._news.tell()

    async def _look(self) -> None:
        try:
            await self.refresh()
        except Exception:
            self._log.exception("plan_refresh_failed")

    async def _refresh(self) -> None:
        try:
            pointers = await self.store.live_all(await self.store.scenes())
            await self._following.follow(pointers)
        except UNAVAILABLE as err:
            self._lost(f"the store does not answer: {type(err).__name__}: {err}")
            return
        if self.store_problem is not None:
            self._log.info("plan_store_back")
        self.store_problem, self.synced_at = None, time.monotonic()
        await self._reporter.tell(self._live.snapshots, self._following.refused())

    async def _load_saved(self, scene: str) -> None:
        try:
            saved = await asyncio.to_thread(self._saved.read, scene)
            await self._following.serve_saved(scene, saved)
        except Exception as err:
            self._following.refuse_saved(scene, err)

    def _lost(self, problem: str) -> None:
        if self.store_problem is None:
            self._log.warning("plan_store_lost", reason=problem)
        self.store_problem = problem
        self._live.doubt()
        self._news.tell()
