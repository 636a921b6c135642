"""Follow alias moves: which scenes one concerns, and who must wait for whom.

A version takes over an alias in all scenes or in none: a formula of one scene that needs a head the
new version lacks keeps the old version everywhere.
"""

from collections.abc import Iterable, Mapping

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


def moved(named: Aliases, now: Aliases) -> frozenset[Move]:
    """The pinned aliases that point elsewhere now."""
    return frozenset(
        (name, alias)
        for name, entry in named.items()
        for alias, version in entry.items()
        if not unmoved({name: {alias: version}}, now)
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


class Together:
    """Moves the scenes of a group at once. `refusals`: of those that stay where they are."""

    def __init__(self, staging: Staging) -> None:
        self.refusals = Refusals()
        self._staging = staging

    async def ready(self, accepted: Mapping[str, Accepted], now: Aliases) -> list[Staged]:
        """What is to go live, at once, in place of what is served, because of where aliases point.

        Args:
            accepted: what is served, by scene, as far as it follows aliases.
            now: where all aliases point that they name.
        """
        moves = {scene: moved(found.aliases, now) for scene, found in accepted.items()}
        for scene in self.refusals.reasons():
            if not moves.get(scene):
                self.refusals.clear(scene)
        ready: list[Staged] = []
        for group in groups({scene: own for scene, own in moves.items() if own}):
            ready += await self._ready({scene: accepted[scene] for scene in group}, now)
        return ready

    async def _ready(self, group: Mapping[str, Accepted], now: Aliases) -> list[Staged]:
        """All of them, or, refused or not ready yet, none."""
        if all(self.refusals.stands(s, a.snapshot.version, now) for s, a in group.items()):
            return []
        failed = dict[str, Exception]()
        staged, waits = [], False
        for scene, before in group.items():
            version, to = before.snapshot.version, follow(before.aliases, now)
            try:
                staged.append(await self._staging.compiled(scene, version, before, to))
            except NotServed as refused:
                failed[scene] = refused.why
        for one in filter(None, () if failed else staged):  # nothing is loaded for nothing
            try:
                await self._staging.ready(one)
            except NotYet:
                waits = True
            except NotServed as refused:
                failed[one.snapshot.scene] = refused.why
        for scene, why in refused_by_others(group, failed).items():
            before = group[scene]
            self.refusals.add(scene, before.snapshot.version, follow(before.aliases, now), why)
        return [] if failed or waits else [one for one in staged if one is not None]
