"""Which scenes an alias move concerns, and who must wait for whom.

A version takes over an alias in all scenes or in none: a formula of one scene that needs a head the
new version lacks keeps the old version everywhere.
"""

from collections.abc import Iterable, Mapping

from service.experiment.aliases import Aliases, unmoved
from service.experiment.errors import ExperimentError

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
