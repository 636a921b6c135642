"""The last answered requests of each scene, in memory: what a preview reads without any log."""

from collections import defaultdict, deque

from service.traffic.record import Ranked


class RecentRankings:
    """The last `kept` requests of each scene; scenes come from plans, so they are few."""

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self._of: defaultdict[str, deque[Ranked]] = defaultdict(lambda: deque(maxlen=kept))

    def add(self, ranked: Ranked) -> None:
        self._of[ranked.scene].append(ranked)

    def last(self, scene: str, most: int) -> list[Ranked]:
        """At most `most`, oldest first."""
        found = list(self._of[scene]) if scene in self._of else []
        return found[-most:]
