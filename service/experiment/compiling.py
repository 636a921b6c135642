"""Compile plans beside ranking, and keep what was compiled last.

A publish checks its draft, then the loader needs the same plan as a version: one compile, because
compiling is Python that holds the interpreter while requests wait for it.
"""

import asyncio

from service.experiment.aliases import Aliases, pinned
from service.experiment.document import Plan
from service.experiment.packages import ResolvedModels
from service.experiment.snapshot import Checked, check_plan
from service.experiment.walk import model_refs

_DRAFT = 0  # the version of a snapshot that is none yet


class Compiling:
    """Checks plans on a thread; the same plan over the same packages is compiled once."""

    def __init__(self) -> None:
        self._last: tuple[str, Aliases, Checked] | None = None

    async def check(self, plan: Plan, models: ResolvedModels) -> Checked:
        """What `check_plan` says; the snapshot has no version yet."""
        # JSON, because equal mappings may differ in order, and terms follow the order
        text = plan.model_dump_json(exclude_unset=True)
        named = pinned(model_refs(plan), models.aliases)
        if self._last is not None and self._last[:2] == (text, named):
            return self._last[2]
        checked = await asyncio.to_thread(check_plan, plan, _DRAFT, models)
        if checked.snapshot is not None:  # what is wrong may be a package that comes back
            self._last = text, named, checked
        return checked
