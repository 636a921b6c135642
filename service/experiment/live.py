"""The snapshots that serve, what they were made from, and their copies on disk."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from service.experiment.accepted import Accepted
from service.experiment.aliases import Aliases, pinned
from service.experiment.saved import SavedPlans
from service.experiment.snapshot import Snapshot
from service.experiment.staging import Staged
from service.experiment.store import plan_digest
from service.experiment.walk import model_refs

OnChange = Callable[[Snapshot], None]


class Live:
    """One snapshot a scene. `on_change` is called with each right after it went live."""

    def __init__(self, saved: SavedPlans, on_change: OnChange | None) -> None:
        self.snapshots: Mapping[str, Snapshot] = {}
        self.accepted: dict[str, Accepted] = {}
        self._saved, self._on_change = saved, on_change
        self._log = structlog.get_logger("finerank.plans")

    async def accept(self, together: Sequence[Staged], *, confirmed: bool) -> None:
        """Make them live at once; what the store has said (`confirmed`) is saved."""
        for snapshot, saved, _ in together:
            named = pinned(model_refs(snapshot.plan), saved.aliases)
            digest = plan_digest(saved.stored.plan)
            self.accepted[snapshot.scene] = Accepted(snapshot, digest, named, confirmed)
        new = {one.snapshot.scene: one.snapshot for one in together}
        self.snapshots = {**self.snapshots, **new}
        for snapshot in new.values():
            self._tell(snapshot, "store" if confirmed else "disk")
        for one in together if confirmed else ():
            await self._save(one)

    def named(self, scene: str) -> Aliases:
        """What the aliases of the plan that is served stand for."""
        accepted = self.accepted.get(scene)
        return {} if accepted is None else accepted.aliases

    def confirm(self, scene: str) -> None:
        """The store says so, too."""
        self.accepted[scene] = replace(self.accepted[scene], confirmed=True)

    def doubt(self) -> None:
        """A store that comes back may be another one: equal numbers are not equal documents."""
        self.accepted = {s: replace(a, confirmed=False) for s, a in self.accepted.items()}

    def _tell(self, snapshot: Snapshot, source: str) -> None:
        scene, version, models = snapshot.scene, snapshot.version, sorted(snapshot.models)
        self._log.info("plan_live", scene=scene, version=version, models=models, source=source)
        if self._on_change is None:
            return
        try:
            self._on_change(snapshot)
        except Exception:
            self._log.exception("plan_hook_failed", scene=scene)

    async def _save(self, staged: Staged) -> None:
        scene = staged.snapshot.scene
        try:
            await asyncio.to_thread(self._saved.save, scene, staged.saved)
        except OSError as err:
            self._log.warning("plan_not_saved", scene=scene, reason=str(err))
