"""Keep a compiled snapshot of every scene's live plan: pub/sub wakes, a jittered poll is the truth.

A plan is accepted when it is read, parsed, compiled, run dry and its models are prepared; then one
assignment makes it live. Anything wrong leaves the live snapshot, and is a log event and a line in
`problems()`. Accepted plans are saved: a start without Redis serves from disk and catches up later.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from service.contract.repository import Repository
from service.experiment.accepted import Accepted, NotServed
from service.experiment.ahead import SOON_S, NotYet
from service.experiment.aliases import Aliases, AliasStore
from service.experiment.aliases import pinned as pinned_aliases
from service.experiment.compiling import Compiling
from service.experiment.connection import UNAVAILABLE, Client
from service.experiment.document import Plan
from service.experiment.moves import Move, follow, groups, moved, refused_by_others
from service.experiment.packages import PackageReader, ResolvedModels
from service.experiment.refusals import Refusals, sentence
from service.experiment.reports import Reporter
from service.experiment.saved import Saved, SavedPlans
from service.experiment.shelf import Shelf
from service.experiment.signing import PlanKey
from service.experiment.snapshot import Snapshot
from service.experiment.staging import Prepare, Rehearse, Staged, Staging
from service.experiment.store import PlanStore, plan_digest
from service.experiment.wake import POLL_S, is_cancelled, listen
from service.experiment.walk import model_refs

PATIENCE_S = 90.0  # for a version that somebody waits for

OnChange = Callable[[Snapshot], None]


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
        self.compiling = Compiling()
        self._redis, self._reader = redis, PackageReader(repository)
        self._on_change = on_change
        self._saved = SavedPlans(state_dir / "plans")
        self._reporter = Reporter(self.store, replica)
        self._snapshots: Mapping[str, Snapshot] = {}
        self._accepted: dict[str, Accepted] = {}
        self._refusals = Refusals()
        self._problems: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._staging = Staging(
            self.store,
            self.shelf,
            self.aliases,
            self._reader,
            self.compiling,
            key,
            prepare,
            rehearse,
            self._wake.set,
        )
        self._turn = asyncio.Lock()
        self._log = structlog.get_logger("finerank.plans")

    def snapshot(self, scene: str) -> Snapshot | None:
        """The live snapshot of a scene, or None; never waits."""
        return self._snapshots.get(scene)

    def scenes(self) -> list[str]:
        """Scenes that have a snapshot, sorted."""
        return sorted(self._snapshots)

    def problems(self) -> dict[str, str]:
        """Scene -> why its live plan is not the one served here."""
        return {**self._problems, **self._refusals.reasons()}

    def models_in_use(self) -> frozenset[str]:
        """Every model, as "name/version", that a live snapshot can reach."""
        return frozenset().union(*(s.models for s in self._snapshots.values()))

    async def models(self, plan: Plan, moved_to: Aliases | None = None) -> ResolvedModels:
        """The packages that a plan, live or a draft, would get now; for `compiling`.

        `moved_to`: where some aliases are supposed to point instead.
        """
        aliases = await self.aliases.read({ref.name for ref in model_refs(plan)})
        for name, entry in (moved_to or {}).items():
            aliases[name] = {**aliases.get(name, {}), **entry}
        return ResolvedModels(self._reader, aliases)

    async def start(self) -> None:
        """Load every scene once, from the store or else from disk; a bad plan is only a problem."""
        self._staging.patience_s = None  # nothing is served yet that could wait for it
        await self._look()
        async with self._turn:
            for scene in await asyncio.to_thread(self._saved.scenes):
                if scene not in self._snapshots:
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
            try:
                live = await self.store.live_all(await self.store.scenes())
                named = {name for a in self._accepted.values() for name in a.aliases}
                named |= {name for scene in live for name in self._refusals.aliases(scene)}
                aliases = await self.aliases.read(named)
                moves = self._moves(live, aliases)
                for scene in (live.keys() | self._accepted.keys()) - moves.keys():
                    await self._follow(scene, live.get(scene), aliases)
                for group in groups(moves):
                    await self._move(group, aliases)
            except UNAVAILABLE as err:
                self._lost(f"the store does not answer: {type(err).__name__}: {err}")
                return
            if self.store_problem is not None:
                self._log.info("plan_store_back")
            self.store_problem, self.synced_at = None, time.monotonic()
            await self._reporter.tell(self._snapshots, self._refusals.reasons())

    async def until_settled(self, scene: str, version: int, patience_s: float = PATIENCE_S) -> None:
        """Return once a published version, or a later one, is live here or refused.

        Its models may have to be rehearsed first: that is waited for, `patience_s` at most.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self.refresh()
                while self._is_coming(scene, version):
                    await asyncio.sleep(SOON_S)
                    await self.refresh()

    def _is_coming(self, scene: str, version: int) -> bool:
        live = self._snapshots.get(scene)
        is_live = live is not None and live.version >= version
        return not is_live and scene not in self.problems() and self.store_problem is None

    async def _look(self) -> None:
        try:
            await self.refresh()
        except Exception:
            self._log.exception("plan_refresh_failed")

    async def _follow(self, scene: str, version: int | None, aliases: Aliases) -> None:
        accepted = self._accepted.get(scene)
        if version is None:
            if accepted is not None:
                stays = f"version {accepted.snapshot.version} stays"
                self._problems[scene] = f"the store has no live plan any more: {stays}"
        elif accepted is not None and accepted.still_is(version, aliases):
            self._clear(scene)
        elif not self._refusals.stands(scene, version, aliases):
            await self._load(scene, version)

    def _moves(
        self, live: Mapping[str, int | None], aliases: Aliases
    ) -> dict[str, frozenset[Move]]:
        """Scenes whose plan stays the same while an alias that it names has moved."""
        found = {
            scene: moved(accepted.aliases, aliases)
            for scene, accepted in self._accepted.items()
            if accepted.confirmed and accepted.snapshot.version == live.get(scene)
        }
        return {scene: moves for scene, moves in found.items() if moves}

    async def _move(self, group: list[str], aliases: Aliases) -> None:
        """Follow alias moves in all these scenes, or in none of them."""
        versions = {scene: self._accepted[scene].snapshot.version for scene in group}
        if all(self._refusals.stands(s, version, aliases) for s, version in versions.items()):
            return
        staged, failed = [], dict[str, Exception]()
        for scene, version in versions.items():
            try:
                staged.append(await self._stage(scene, version))
            except NotYet:
                staged.append(None)
            except NotServed as refused:
                failed[scene] = refused.why
        for scene, why in refused_by_others(group, failed).items():
            named = follow(self._accepted[scene].aliases, aliases)
            self._refusals.add(scene, versions[scene], named, why)
        if not failed and all(staged):
            for found in filter(None, staged):
                await self._accept(*found, confirmed=True)

    async def _load(self, scene: str, version: int) -> None:
        before = self._accepted.get(scene)
        try:
            staged = await self._stage(scene, version)
        except NotYet:
            if before is None:
                return
            staged = await self._staging.stage_as_before(scene, version, before)
        except NotServed as refused:
            self._refusals.add(scene, version, refused.aliases, refused.why)
            return
        if staged is not None:
            await self._accept(*staged, confirmed=True)

    async def _stage(self, scene: str, version: int) -> Staged | None:
        """What would be live; None: it is live already. See `Staging.stage`."""
        before = self._accepted.get(scene)
        staged = await self._staging.stage(scene, version, before)
        if staged is None and before is not None:
            self._accepted[scene] = replace(before, confirmed=True)
            self._clear(scene)
        return staged

    async def _load_saved(self, scene: str) -> None:
        try:
            saved = await asyncio.to_thread(self._saved.read, scene)
            staged = await self._staging.stage_saved(scene, saved)
        except Exception as err:
            self._problems[scene] = f"the saved plan is refused: {sentence(err)}"
            self._refusals.log(scene, None, err)
            return
        await self._accept(*staged, confirmed=False)

    async def _accept(self, snapshot: Snapshot, saved: Saved, *, confirmed: bool) -> None:
        scene, digest = snapshot.scene, plan_digest(saved.stored.plan)
        named = pinned_aliases(model_refs(snapshot.plan), saved.aliases)
        self._accepted[scene] = Accepted(snapshot, digest, named, confirmed)
        self._snapshots = {**self._snapshots, scene: snapshot}
        self._log.info(
            "plan_live",
            scene=scene,
            version=snapshot.version,
            models=sorted(snapshot.models),
            source="store" if confirmed else "disk",
        )
        self._tell(snapshot)
        if confirmed:
            self._clear(scene)
            await self._save(scene, saved)

    async def _save(self, scene: str, saved: Saved) -> None:
        try:
            await asyncio.to_thread(self._saved.save, scene, saved)
        except OSError as err:
            self._log.warning("plan_not_saved", scene=scene, reason=str(err))

    def _tell(self, snapshot: Snapshot) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change(snapshot)
        except Exception:
            self._log.exception("plan_hook_failed", scene=snapshot.scene)

    def _clear(self, scene: str) -> None:
        self._problems.pop(scene, None)
        self._refusals.clear(scene)

    def _lost(self, problem: str) -> None:
        if self.store_problem is None:
            self._log.warning("plan_store_lost", reason=problem)
        self.store_problem = problem
        # A store that comes back may be another one: then equal numbers are not equal documents.
        self._accepted = {s: replace(a, confirmed=False) for s, a in self._accepted.items()}
