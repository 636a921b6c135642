"""Compile plans beside ranking, and keep what was compiled last for each scene.

A publish checks its draft, then the loader needs the same plan as a version, and once more while it
waits for the models: one compile, because compiling is Python that holds the interpreter while
requests wait for it.
"""

import asyncio
from collections.abc import Callable, Collection

from service.experiment.aliases import Aliases, pinned
from service.experiment.document import Plan
from service.experiment.packages import ResolvedModels
from service.experiment.snapshot import Checked, check_plan
from service.experiment.walk import model_refs

_DRAFT = 0  # the version of a snapshot that is none yet
_DRAFTS = 32  # kept of scenes that are not live: drafts may be of any


class Compiling:
    """Checks plans on a thread; the same plan over the same packages is compiled once.

    `live`: the scenes whose last plan is kept, however many there are.
    """

    def __init__(self, live: Callable[[], Collection[str]] = tuple) -> None:
        self._live = live
        self._last: dict[str, tuple[str, Aliases, Checked]] = {}  # the scene used last is the last

    async def check(self, plan: Plan, models: ResolvedModels) -> Checked:
        """What `check_plan` says; the snapshot has no version yet."""
        # JSON, because equal mappings may differ in order, and terms follow the order
        text = plan.model_dump_json(exclude_unset=True)
        named = pinned(model_refs(plan), models.aliases)
        last = self._last.get(plan.scene)
        if last is None or last[:2] != (text, named):
            checked = await asyncio.to_thread(check_plan, plan, _DRAFT, models)
            if checked.snapshot is None:
                return checked  # what is wrong may be a package that comes back
            last = text, named, checked
        self._last.pop(plan.scene, None)
        self._last[plan.scene] = last
        live = self._live()
        drafts = [scene for scene in self._last if scene not in live]
        if len(drafts) > _DRAFTS:
            del self._last[drafts[0]]
        return last[2]
