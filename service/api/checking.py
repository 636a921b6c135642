"""What is wrong or doubtful of a plan document that somebody means to publish."""

import asyncio
from dataclasses import replace
from typing import Any

from service.api.places import Places
from service.api.plan_refusals import parse_for, require_sane, store_errors
from service.experiment.document import Plan
from service.experiment.errors import PlanInvalid
from service.experiment.library import Expanded, expand
from service.experiment.loader import PlanLoader
from service.experiment.redrawn import redrawn
from service.experiment.snapshot import Checked


class Checking:
    """Checks documents against the packages that they would get on this replica.

    `places`: of those who do not publish; see `in_turn`.
    """

    def __init__(self, loader: PlanLoader, places: Places | None = None) -> None:
        self._loader = loader
        self._places, self._one = places or Places("checks of plans"), asyncio.Lock()

    async def in_turn(self, scene: str, document: Any) -> Checked:
        """One at a time: no write waits for these.

        Raises:
            TooBusy: too many wait already.
        """
        with self._places.take():
            async with self._one:
                return await self.check(scene, document)

    async def check(self, scene: str, document: Any) -> Checked:
        """Everything found; what would draw users anew against the live plan, too."""
        expanded = Expanded(document)
        try:
            require_sane(document)
            with store_errors():
                pinned = await self._loader.shelf.pinned(document)
            expanded = expand(document, pinned)
            plan = parse_for(scene, expanded.document)
        except PlanInvalid as err:
            return Checked(expanded.told(err.findings), None)
        checked = await self._compiled(plan)
        checked = replace(checked, findings=expanded.told(checked.findings))
        live = self._loader.snapshot(scene)
        if checked.snapshot is None or live is None:
            return checked
        moved = await asyncio.to_thread(redrawn, live, checked.snapshot)
        return replace(checked, findings=(*checked.findings, *moved))

    async def _compiled(self, plan: Plan) -> Checked:
        """Over the models that are served; where that fails, over where aliases point by now."""
        with store_errors():
            models = await self._loader.models(plan)
            there = await self._loader.models(plan, moved_to={})
        checked = await self._loader.compiling.check(plan, models)
        if checked.snapshot is None and there.aliases != models.aliases:
            over_there = await self._loader.compiling.check(plan, there)
            if over_there.snapshot is not None:
                return over_there
        return checked
