"""The last answered requests of each scene, in memory: what a preview reads without any log."""

from collections import defaultdict, deque
from dataclasses import dataclass, field

from service.traffic.record import Ranked


@dataclass
class _Scene:
    rankings: deque[Ranked] = field(default_factory=deque)
    candidates: int = 0


class RecentRankings:
    """The last `kept` requests of each scene, of at most `most_candidates` together.

    Scenes come from plans, so they are few. Requests are added on one thread; others may read.
    """

    def __init__(self, kept: int, most_candidates: int) -> None:
        self.kept, self._most = kept, most_candidates
        self._of: defaultdict[str, _Scene] = defaultdict(_Scene)

    def add(self, ranked: Ranked) -> None:
        scene = self._of[ranked.scene]
        scene.rankings.append(ranked)
        scene.candidates += len(ranked.ids)
        while len(scene.rankings) > self.kept or scene.candidates > self._most:
            scene.candidates -= len(scene.rankings.popleft().ids)

    def last(self, scene: str, most: int) -> list[Ranked]:
        """At most `most`, oldest first."""
        found = self._of[scene].rankings.copy() if scene in self._of else deque[Ranked]()
        return list(found)[-most:]
