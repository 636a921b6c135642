"""From a published version to a snapshot that could go live: read, checked, compiled, made ready.

Nothing here is live, or changes what is.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from service.experiment.accepted import Accepted, NotServed, plan_of
from service.experiment.ahead import SOON_S, Ahead, NotYet
from service.experiment.aliases import Aliases, AliasStore, pinned
from service.experiment.compiling import Compiling
from service.experiment.document import Plan
from service.experiment.errors import ExperimentError
from service.experiment.packages import PackageReader, ResolvedModels
from service.experiment.saved import Saved
from service.experiment.shelf import Shelf
from service.experiment.signing import PlanKey
from service.experiment.snapshot import Snapshot
from service.experiment.store import PlanStore, plan_digest
from service.experiment.walk import model_refs

Prepare = Callable[[frozenset[str]], Awaitable[None]]  # load models "name/version", or raise
Rehearse = Callable[[Snapshot], Awaitable[None]]


class Staged(NamedTuple):
    """A snapshot that could go live, and what it was made from."""

    snapshot: Snapshot
    saved: Saved


class Staging:
    """Makes snapshots of the versions in a store.

    `prepare`, `rehearse`: load a plan's models, and try the snapshot; what they raise refuses it.
    `wake` is called when a snapshot is ready that was not yet.
    """

    def __init__(
        self,
        store: PlanStore,
        shelf: Shelf,
        aliases: AliasStore,
        reader: PackageReader,
        compiling: Compiling,
        key: PlanKey | None,
        prepare: Prepare,
        rehearse: Rehearse | None,
        wake: Callable[[], None],
    ) -> None:
        self.patience_s: float | None = SOON_S
        self._store, self._shelf, self._aliases = store, shelf, aliases
        self._reader, self._compiling, self._key = reader, compiling, key
        self._prepare, self._rehearse = prepare, rehearse
        self._ahead = Ahead[Snapshot](self._get_ready, wake)

    async def stage(self, scene: str, version: int, before: Accepted | None) -> Staged | None:
        """The snapshot of a version; None: `before` is that already.

        Raises:
            NotServed: it cannot go live.
            NotYet: its models are being loaded and rehearsed.
        """
        return await self._stage(scene, version, before, {})

    async def stage_as_before(self, scene: str, version: int, before: Accepted) -> Staged | None:
        """The same with the models that aliases named in `before`, if that is ready now.

        A freeze, or any other plan, does not wait until a new model is warm.
        """
        try:
            return await self._stage(scene, version, before, before.aliases)
        except (NotYet, NotServed):
            return None

    async def stage_saved(self, scene: str, saved: Saved) -> Staged:
        """The snapshot of a plan from disk.

        Raises:
            ExperimentError, PackageError: it cannot go live.
        """
        plan = plan_of(scene, saved.stored, self._key, saved.libraries)
        return Staged(await self._compile(plan, saved.stored.version, saved.aliases), saved)

    async def close(self) -> None:
        """Leave what is in progress."""
        await self._ahead.close()

    async def _stage(
        self, scene: str, version: int, before: Accepted | None, kept: Aliases
    ) -> Staged | None:
        try:
            stored = await self._store.get(scene, version)
            libraries = await self._shelf.pinned(stored.plan)
            plan = plan_of(scene, stored, self._key, libraries)
        except ExperimentError as err:
            raise NotServed({}, err) from err
        refs = model_refs(plan)
        aliases = await self._aliases.read({ref.name for ref in refs})
        aliases = {name: {**entry, **kept.get(name, {})} for name, entry in aliases.items()}
        named = pinned(refs, aliases)
        if before is not None and before.is_of(version, plan_digest(stored.plan), named):
            return None
        try:
            snapshot = await self._compile(plan, version, aliases)
        except NotYet:
            raise
        except Exception as err:
            raise NotServed(named, err) from err
        return Staged(snapshot, Saved(stored, aliases, libraries))

    async def _compile(self, plan: Plan, version: int, aliases: Aliases) -> Snapshot:
        models = ResolvedModels(self._reader, aliases)
        snapshot = (await self._compiling.check(plan, models)).as_version(version)
        await self._ahead.ready(snapshot, self.patience_s)
        return snapshot

    async def _get_ready(self, snapshot: Snapshot) -> None:
        await self._prepare(snapshot.models)
        if self._rehearse is not None:
            await self._rehearse(snapshot)
