"""From a published version to a snapshot that could go live: read, checked, compiled, made ready.

Nothing here is live, or changes what is.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from service.experiment.accepted import Accepted, NotServed, plan_of
from service.experiment.ahead import SOON_S, Ahead, NotYet
from service.experiment.aliases import Aliases, AliasStore, kept, pinned
from service.experiment.compiling import Compiling
from service.experiment.connection import UNAVAILABLE
from service.experiment.document import Plan
from service.experiment.errors import DamagedAliases
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
    """A snapshot that could go live, and what it was made from.

    `pointed`: where the store says that the aliases of its plan point.
    """

    snapshot: Snapshot
    saved: Saved
    pointed: Aliases


@dataclass(frozen=True)
class Sources:
    """Where plans, libraries, aliases and packages are read; `key`: only what it has signed."""

    store: PlanStore
    shelf: Shelf
    aliases: AliasStore
    reader: PackageReader
    key: PlanKey | None


def loaded_then(prepare: Prepare, rehearse: Rehearse | None) -> Rehearse:
    """Load a snapshot's models, then try it."""

    async def get_ready(snapshot: Snapshot) -> None:
        await prepare(snapshot.models)
        if rehearse is not None:
            await rehearse(snapshot)

    return get_ready


class Staging:
    """Makes snapshots of the versions in a store.

    What `get_ready` raises refuses a snapshot; `wake` is called when one is ready, or refused, that
    was not yet.
    """

    def __init__(
        self,
        sources: Sources,
        compiling: Compiling,
        get_ready: Rehearse,
        wake: Callable[[], None],
    ) -> None:
        self.patience_s: float | None = SOON_S
        self._from, self._compiling = sources, compiling
        self._ahead = Ahead[Snapshot](get_ready, wake)

    async def stage(
        self, scene: str, version: int, before: Accepted | None, named: Aliases
    ) -> Staged | None:
        """`compiled`, and `ready` where there is something to make ready."""
        staged = await self.compiled(scene, version, before, named)
        if staged is not None:
            await self.ready(staged)
        return staged

    async def compiled(
        self, scene: str, version: int, before: Accepted | None, named: Aliases
    ) -> Staged | None:
        """The snapshot of a version; None: `before` is that already.

        `named`: what aliases stand for here, wherever the store says that they point.

        Raises:
            NotServed: it cannot go live.
            UNAVAILABLE: the store does not answer.
        """
        try:
            stored = await self._from.store.get(scene, version)
            libraries = await self._from.shelf.pinned(stored.plan)
            plan = plan_of(scene, stored, self._from.key, libraries)
        except UNAVAILABLE:
            raise
        except Exception as err:  # whatever it is, no other scene waits for this one
            raise NotServed({}, err) from err
        refs = model_refs(plan)
        names = {ref.name for ref in refs}
        now = await self._from.aliases.read(names)
        if damaged := names - now.keys():
            raise NotServed({}, DamagedAliases(min(damaged)))
        aliases, pointed = kept(now, named), pinned(refs, now)
        if before is not None and before.is_of(
            version, plan_digest(stored.plan), pinned(refs, aliases)
        ):
            return None
        try:
            snapshot = await self._compile(plan, version, aliases)
        except Exception as err:
            raise NotServed(pointed, err) from err
        return Staged(snapshot, Saved(stored, aliases, libraries), pointed)

    async def ready(self, staged: Staged) -> None:
        """Return once it could go live this moment.

        Raises:
            NotServed: its models do not load, or fail their rehearsal.
            NotYet: they are being loaded and rehearsed.
        """
        try:
            await self._ahead.ready(staged.snapshot, self.patience_s)
        except NotYet:
            raise
        except Exception as err:
            raise NotServed(staged.pointed, err) from err

    async def stage_saved(self, scene: str, saved: Saved) -> Staged:
        """The snapshot of a plan from disk.

        Raises:
            ExperimentError, PackageError: it cannot go live.
        """
        plan = plan_of(scene, saved.stored, self._from.key, saved.libraries)
        snapshot = await self._compile(plan, saved.stored.version, saved.aliases)
        await self._ahead.ready(snapshot, self.patience_s)
        return Staged(snapshot, saved, {})

    def forget(self) -> None:
        """Forget what nobody has asked for since the last call."""
        self._ahead.forget()

    async def close(self) -> None:
        """Leave what is in progress."""
        await self._ahead.close()

    async def _compile(self, plan: Plan, version: int, aliases: Aliases) -> Snapshot:
        models = ResolvedModels(self._from.reader, aliases)
        return (await self._compiling.check(plan, models)).as_version(version)
