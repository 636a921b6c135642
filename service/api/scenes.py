"""Which plan snapshot a request gets, and which scenes can rank now."""

import difflib

from service.errors import Fault, InvalidRequest, NotRanking
from service.experiment.findings import pointer
from service.experiment.loader import PlanLoader
from service.experiment.snapshot import Snapshot


class Scenes:
    """The scenes that this replica serves, as the loader holds them."""

    def __init__(self, loader: PlanLoader) -> None:
        self._loader = loader

    @property
    def replica(self) -> str:
        """The name of this process among those that share the store."""
        return self._loader.replica

    def longest_deadline_ms(self) -> float:
        """The largest default deadline of the live scenes; 0 without one."""
        live = map(self._loader.snapshot, self._loader.scenes())
        return max((s.deadline_ms for s in live if s is not None), default=0.0)

    def pick(self, scene: str | None) -> Snapshot:
        """The snapshot of a scene; without a name, of the only live one.

        Raises:
            InvalidRequest: no such scene, or none named where several are live.
            NotRanking: no scene is live, or this one's plan cannot be used here.
        """
        live = self._loader.scenes()
        if scene is None:
            if len(live) > 1:
                raise _refused(f"say which scene: {', '.join(live)} are live")
            scene = live[0] if live else ""
        snapshot = self._loader.snapshot(scene)
        if snapshot is not None:
            return snapshot
        problem = self._loader.problems().get(scene)
        if problem is not None:
            raise NotRanking(f"scene {scene!r}: {problem}", headers={"retry-after": "1"})
        if not live:
            raise NotRanking("no scene has a plan yet: PUT one to /v1/plans/{scene}")
        near = difflib.get_close_matches(scene, live, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f" (live: {', '.join(live)})"
        raise _refused(f"unknown scene {scene[:80]!r}{hint}")


def _refused(rule: str) -> InvalidRequest:
    return InvalidRequest(rule, faults=[Fault(rule, pointer("scene"))])
