"""Keep a compiled snapshot of every scene's live plan: pub/sub wakes, a jittered poll is the truth.

A plan is accepted when it is read, parsed, compiled, run dry and its models are prepared; then one assignment
makes it live. Anything wrong leaves the live snapshot and is a log event and a line in `problems()`.
Each accepted plan is saved to disk; a start without Redis serves from there and catches up later.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from service.contract.errors import ContractError
from service.contract.repository import ModelRef, Repository
from service.experiment.aliases import Aliases, AliasStore
from service.experiment.connection import UNAVAILABLE, Client
from service.experiment.document import Plan
from service.experiment.errors import DamagedPlan, ExperimentError
from service.experiment.packages import PackageReader, ResolvedModels
from service.experiment.plan import parse_plan
from service.experiment.rules import model_refs
from service.experiment.saved import Saved, SavedPlans
from service.experiment.snapshot import Snapshot, compile_snapshot
from service.experiment.store import CHANNEL, PlanStore, StoredPlan, plan_digest

POLL_S = (1.0, 2.0)  # drawn anew for each pause, so that replicas do not poll in step
REPORT_EVERY_S = 30.0
RETRY_S = (2.0, 60.0)  # first and longest pause before a refused plan is tried again unchanged

Prepare = Callable[
    [frozenset[str]], Awaitable[None]
]  # "name/version" of models: load them or raise
OnChange = Callable[[Snapshot], None]


@dataclass(frozen=True)
class _Accepted:
    """What is served. `aliases`: those the plan names, as resolved; `confirmed`: the store has said so."""

    snapshot: Snapshot
    digest: str
    aliases: Aliases
    confirmed: bool

    def same(self, version: int, digest: str, aliases: Aliases) -> bool:
        return (self.snapshot.version, self.digest, self.aliases) == (version, digest, aliases)


@dataclass(frozen=True)
class _Refusal:
    version: int
    aliases: Aliases
    reason: str
    retry_at: float
    pause_s: float


class PlanLoader:
    """Snapshots of all scenes, kept up to date by `run()`.

    Args:
        prepare: loads the models of a plan before it goes live; what it raises refuses the plan.
        state_dir: accepted plans are saved under `plans/` in it.
        replica: the name under which this process reports to the store.
        on_change: called with each snapshot right after it went live.
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
    ) -> None:
        self.store, self.aliases = PlanStore(redis), AliasStore(redis)
        self.store_problem: str | None = None
        self.synced_at: float | None = None  # monotonic instant of the last whole poll
        self._redis, self._repository, self._reader = redis, repository, PackageReader(repository)
        self._prepare, self._on_change = prepare, on_change
        self._saved, self._replica = SavedPlans(state_dir / "plans"), replica
        self._snapshots: Mapping[str, Snapshot] = {}
        self._accepted: dict[str, _Accepted] = {}
        self._refused: dict[str, _Refusal] = {}
        self._problems: dict[str, str] = {}
        self._reported: dict[str, str] = {}
        self._report_at = 0.0
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._log = structlog.get_logger("finerank.plans")

    def snapshot(self, scene: str) -> Snapshot | None:
        """The live snapshot of a scene, or None; never waits."""
        return self._snapshots.get(scene)

    def scenes(self) -> list[str]:
        """Scenes that can rank, sorted."""
        return sorted(self._snapshots)

    def problems(self) -> dict[str, str]:
        """Scene -> why its live plan is not the one served here."""
        return dict(self._problems)

    def models_in_use(self) -> frozenset[str]:
        """ "name/version" of every model that a live snapshot can reach."""
        return frozenset().union(*(s.models for s in self._snapshots.values()))

    async def models(self, plan: Plan) -> ResolvedModels:
        """The packages that a plan, live or a draft, would get now; for `check_plan`."""
        names = {ref.name for ref in model_refs(plan)}
        return ResolvedModels(self._reader, await self._read_aliases(names))

    async def start(self) -> None:
        """Load every scene once: from the store, else from disk. Never raises for what a plan has wrong."""
        await self.refresh()
        async with self._turn:
            for scene in await asyncio.to_thread(self._saved.scenes):
                if scene not in self._snapshots:
                    await self._load_saved(scene)

    async def run(self) -> None:
        """Follow the store until cancelled; survives everything else."""
        listener = asyncio.create_task(self._listen())
        try:
            while True:
                try:
                    await self.refresh()
                except Exception:
                    self._log.exception("plan_refresh_failed")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), random.uniform(*POLL_S))
                self._wake.clear()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def close(self) -> None:
        """Take this replica out of the store's lists, if the store answers."""
        with contextlib.suppress(*UNAVAILABLE):
            for scene in self._reported:
                await self.store.forget(scene, self._replica)

    async def refresh(self) -> None:
        """Look at the store once, and load what has changed."""
        async with self._turn:
            try:
                live = await self.store.live_all(await self.store.scenes())
                named = {name for a in self._accepted.values() for name in a.aliases}
                aliases = await self._read_aliases(named)
                for scene, version in live.items():
                    await self._follow(scene, version, aliases)
                await self._report()
            except UNAVAILABLE as err:
                self._lost(f"the store does not answer: {type(err).__name__}: {err}")
                return
            if self.store_problem is not None:
                self._log.info("plan_store_back")
            self.store_problem, self.synced_at = None, time.monotonic()

    async def _follow(self, scene: str, version: int | None, aliases: Aliases) -> None:
        accepted = self._accepted.get(scene)
        if version is None:
            if accepted is not None:
                self._problems[scene] = (
                    f"the store has no live plan any more: version {accepted.snapshot.version} stays"
                )
            return
        if (
            accepted is not None
            and accepted.confirmed
            and accepted.snapshot.version == version
            and _same(accepted.aliases, aliases)
        ):
            self._clear(scene)
            return
        refused = self._refused.get(scene)
        if (
            refused is not None
            and refused.version == version
            and time.monotonic() < refused.retry_at
            and _same(refused.aliases, await self._read_aliases(refused.aliases))
        ):
            return
        await self._load(scene, version)

    async def _load(self, scene: str, version: int) -> None:
        try:
            stored = await self.store.get(scene, version)
            plan = self._parse(scene, stored)
        except UNAVAILABLE:
            raise
        except ExperimentError as err:
            self._refuse(scene, version, {}, err)
            return
        refs = model_refs(plan)
        aliases = await self._read_aliases({ref.name for ref in refs})
        named = _named(refs, aliases)
        before = self._accepted.get(scene)
        if before is not None and before.same(version, plan_digest(stored.plan), named):
            self._accepted[scene] = replace(before, confirmed=True)
            self._clear(scene)
            return
        try:
            snapshot = await self._compile(plan, version, aliases)
        except Exception as err:
            self._refuse(scene, version, named, err)
            return
        await self._accept(snapshot, Saved(stored, aliases), confirmed=True)

    async def _load_saved(self, scene: str) -> None:
        try:
            saved = await asyncio.to_thread(self._saved.read, scene)
            plan = self._parse(scene, saved.stored)
            snapshot = await self._compile(plan, saved.stored.version, saved.aliases)
        except Exception as err:
            self._problems.setdefault(scene, f"the saved plan is refused: {_sentence(err)}")
            self._log_refusal(scene, None, err)
            return
        await self._accept(snapshot, saved, confirmed=False)

    def _parse(self, scene: str, stored: StoredPlan) -> Plan:
        plan = parse_plan(stored.plan)
        if plan.scene != scene:
            raise DamagedPlan(f"the plan of scene {plan.scene!r} is stored under {scene!r}")
        return plan

    async def _compile(self, plan: Plan, version: int, aliases: Aliases) -> Snapshot:
        models = ResolvedModels(self._reader, aliases)
        snapshot = await asyncio.to_thread(compile_snapshot, plan, version, models)
        await self._prepare(snapshot.models)
        return snapshot

    async def _accept(self, snapshot: Snapshot, saved: Saved, *, confirmed: bool) -> None:
        scene = snapshot.scene
        named = _named(model_refs(snapshot.plan), saved.aliases)
        digest = plan_digest(saved.stored.plan)
        self._accepted[scene] = _Accepted(snapshot, digest, named, confirmed)
        self._snapshots = {**self._snapshots, scene: snapshot}
        self._log.info(
            "plan_live",
            scene=scene,
            version=snapshot.version,
            models=sorted(snapshot.models),
            source="store" if confirmed else "disk",
        )
        self._tell(snapshot)
        if not confirmed:
            return
        self._clear(scene)
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

    def _refuse(self, scene: str, version: int, aliases: Aliases, err: Exception) -> None:
        before = self._refused.get(scene)
        pause_s = RETRY_S[0]
        if before is not None and before.version == version:
            pause_s = min(2 * before.pause_s, RETRY_S[1])
        reason = f"version {version} is refused: {_sentence(err)}"
        retry_at = time.monotonic() + pause_s
        self._refused[scene] = _Refusal(version, aliases, reason, retry_at, pause_s)
        self._problems[scene] = reason
        self._log_refusal(scene, version, err)

    def _log_refusal(self, scene: str, version: int | None, err: Exception) -> None:
        expected = isinstance(err, ExperimentError | ContractError)
        self._log.warning(
            "plan_refused",
            scene=scene,
            version=version,
            reason=_sentence(err),
            exc_info=None if expected else err,
        )

    def _clear(self, scene: str) -> None:
        self._problems.pop(scene, None)
        self._refused.pop(scene, None)

    def _lost(self, problem: str) -> None:
        if self.store_problem is None:
            self._log.warning("plan_store_lost", reason=problem)
        self.store_problem = problem
        # A store that comes back may be another one: look at each document again, not only its number.
        self._accepted = {s: replace(a, confirmed=False) for s, a in self._accepted.items()}

    async def _read_aliases(self, names: Iterable[str]) -> dict[str, dict[str, int]]:
        """Aliases from the store, after filling it from `aliases.json` where it has none."""
        names = sorted(names)
        found = await self.aliases.read(names) if names else {}
        for name in [name for name in names if not found[name]]:
            if await self.aliases.fill(name, self._first_aliases(name)):
                found |= await self.aliases.read([name])
        return found

    def _first_aliases(self, name: str) -> Mapping[str, int]:
        try:
            return self._repository.read_aliases(name)
        except (ContractError, OSError):
            return {}  # resolving the reference then says what is wrong with the file

    async def _report(self) -> None:
        """Tell the store what runs here, on every change and every half minute."""
        due = time.monotonic() >= self._report_at
        for scene in self._accepted.keys() | self._refused.keys():
            accepted, refused = self._accepted.get(scene), self._refused.get(scene)
            state = {
                "version": accepted.snapshot.version if accepted else None,
                "models": sorted(accepted.snapshot.models) if accepted else [],
                "refuses": refused.reason if refused else None,
            }
            text = json.dumps(state)
            if due or self._reported.get(scene) != text:
                at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
                await self.store.report(scene, self._replica, json.dumps({**state, "at": at}))
                self._reported[scene] = text
        if due:
            self._report_at = time.monotonic() + REPORT_EVERY_S

    async def _listen(self) -> None:
        """Wake the loader at each publication; after a lost connection at once, for what was missed."""
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(CHANNEL)
                    self._wake.set()
                    while True:
                        message = await channel.get_message(
                            ignore_subscribe_messages=True, timeout=POLL_S[1]
                        )
                        if message is not None:
                            self._wake.set()
            except Exception as err:
                self._log.debug("plan_channel_lost", reason=str(err))
                await asyncio.sleep(random.uniform(*POLL_S))


def _named(refs: Iterable[ModelRef], aliases: Aliases) -> dict[str, dict[str, int]]:
    """The part of the aliases that references name, 0 where there is none."""
    named: dict[str, dict[str, int]] = {}
    for ref in refs:
        entry = named.setdefault(ref.name, {})
        if ref.alias is not None:
            entry[ref.alias] = aliases.get(ref.name, {}).get(ref.alias, 0)
    return named


def _same(named: Aliases, now: Aliases) -> bool:
    """Whether the aliases that a plan names still point where they did."""
    return all(
        now.get(name, {}).get(alias, 0) == version
        for name, entry in named.items()
        for alias, version in entry.items()
    )


def _sentence(err: Exception) -> str:
    return str(err) or type(err).__name__
