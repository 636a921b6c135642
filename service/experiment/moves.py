"""Follow alias moves: which scenes one concerns, and who must wait for whom.

A version takes over an alias in all scenes or in none: a formula of one scene that needs a head the
new version lacks keeps the old version everywhere, until a plan comes that needs it no more. Where
that plan needs a head that only the new version has, plan and alias go live in one step.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from service.experiment.accepted import Accepted, NotServed
from service.experiment.ahead import NotYet
from service.experiment.aliases import Aliases, unmoved
from service.experiment.errors import ExperimentError
from service.experiment.refusals import Refusals
from service.experiment.staging import Staged, Staging

Move = tuple[str, str]  # model name, alias


class MoveRefused(ExperimentError):
    """An alias move that another scene cannot follow."""

    def __init__(self, scene: str, why: str) -> None:
        super().__init__(f"the alias moved, but scene {scene!r} cannot follow: {why}")


def every_alias(named: Aliases) -> frozenset[Move]:
    """The pinned aliases."""
    return frozenset((name, alias) for name, entry in named.items() for alias in entry)


def moved(named: Aliases, now: Aliases) -> frozenset[Move]:
    """The pinned aliases that point elsewhere now."""
    return frozenset(
        (name, alias)
        for name, alias in every_alias(named)
        if not unmoved({name: {alias: named[name][alias]}}, now)
    )


def follow(named: Aliases, now: Aliases) -> dict[str, dict[str, int]]:
    """The pinned aliases with where they point now, 0 where nowhere."""
    return {
        name: {alias: now.get(name, {}).get(alias, 0) for alias in entry}
        for name, entry in named.items()
    }


def groups(moves: Mapping[str, frozenset[Move]]) -> list[list[str]]:
    """Scenes that follow the same moves, directly or over other scenes, sorted."""
    found: list[tuple[set[str], set[Move]]] = []
    for scene, own in sorted(moves.items()):
        scenes, shared = {scene}, set(own)
        apart = []
        for other_scenes, other in found:
            if other & shared:
                scenes |= other_scenes
                shared |= other
            else:
                apart.append((other_scenes, other))
        found = [*apart, (scenes, shared)]
    return sorted(sorted(scenes) for scenes, _ in found)


def refused_by_others(
    group: Iterable[str], failed: Mapping[str, Exception]
) -> dict[str, Exception]:
    """Every scene of a group with its reason, when one of them has failed."""
    if not failed:
        return {}
    first = min(failed)
    return {scene: failed.get(scene) or MoveRefused(first, str(failed[first])) for scene in group}


class Wanted(NamedTuple):
    """A version of a plan, and the aliases that it names."""

    version: int
    aliases: Aliases


class Together:
    """Moves the scenes of a group at once. `refusals`: of those that stay where they are.

    `over_now`: versions in the store that do not do over the models that are served, and were
    refused over those that aliases point at now, too. `coming`: scenes that wait for models, with
    the version that will be served.
    """

    def __init__(self, staging: Staging) -> None:
        self.refusals, self.over_now = Refusals(), Refusals()
        self.coming: Mapping[str, int] = {}
        self._staging = staging

    async def ready(
        self, accepted: Mapping[str, Accepted], newer: Mapping[str, Wanted], now: Aliases
    ) -> list[Staged]:
        """What is to go live, at once, in place of what is served, because of where aliases point.

        Args:
            accepted: what is served, by scene, as far as it follows aliases.
            newer: what some scenes are to serve instead if they follow.
            now: where all aliases point that they name.
        """
        moves = {scene: moved(found.aliases, now) for scene, found in accepted.items()}
        for scene in self.refusals.reasons():
            if not moves.get(scene):
                self.refusals.clear(scene)
        ready: list[Staged] = []
        self.coming = {}
        for group in groups({scene: own for scene, own in moves.items() if own}):
            wanted = {
                scene: newer.get(scene) or Wanted(before.snapshot.version, before.aliases)
                for scene, before in accepted.items()
                if scene in group
            }
            if not all(self.refusals.stands(s, w.version, now) for s, w in wanted.items()):
                ready += await self._ready(wanted, accepted, newer.keys(), now)
        return ready

    async def _ready(
        self,
        wanted: Mapping[str, Wanted],
        accepted: Mapping[str, Accepted],
        newer: Collection[str],
        now: Aliases,
    ) -> list[Staged]:
        """All of them, or, refused or not ready yet, none."""
        failed = dict[str, Exception]()
        staged, waits = [], False
        for scene, (version, aliases) in wanted.items():
            try:
                to = follow(aliases, now)
                staged.append(await self._staging.compiled(scene, version, accepted[scene], to))
            except NotServed as refused:
                failed[scene] = refused.why
        coming = [] if failed else [one for one in staged if one is not None]
        for one, kept_from in zip(coming, await self._all_ready(coming), strict=True):
            if isinstance(kept_from, NotServed):
                failed[one.snapshot.scene] = kept_from.why
            waits |= isinstance(kept_from, NotYet)
        for scene in failed.keys() & newer:
            version, aliases = wanted[scene]
            self.over_now.add(scene, version, follow(aliases, now), failed[scene])
        for scene, why in refused_by_others(wanted, failed).items():
            version, aliases = wanted[scene]
            self.refusals.add(scene, version, follow(aliases, now), why)
        if failed:
            return []
        if waits:
            self.coming = {**self.coming, **{scene: w.version for scene, w in wanted.items()}}
            return []
        for scene in wanted:
            self.refusals.clear(scene)
        return coming

    async def _all_ready(self, staged: Iterable[Staged]) -> list[NotYet | NotServed | None]:
        """What keeps each from going live; they are waited for at once, not one after another."""

        async def ready(one: Staged) -> NotYet | NotServed | None:
            try:
                await self._staging.ready(one)
            except (NotYet, NotServed) as why:
                return why
            return None

        return await asyncio.gather(*map(ready, staged))
