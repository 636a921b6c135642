"""What this replica runs and refuses, told to the store for everybody to see."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from service.experiment.connection import UNAVAILABLE
from service.experiment.snapshot import Snapshot
from service.experiment.store import PlanStore

REPORT_EVERY_S = 30.0  # a report that is much older is of a replica that is gone


class Reporter:
    """Writes `finerank:{scene}:replicas`, on every change and every half minute.

    A report is JSON: `version` (null: none), `models`, `refuses` (null, or the sentence), `at`.
    """

    def __init__(
        self, store: PlanStore, replica: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._replica, self._clock = store, replica, clock
        self._told: dict[str, str] = {}
        self._due_at = 0.0

    async def tell(self, live: Mapping[str, Snapshot], refused: Mapping[str, str]) -> None:
        """Report what has changed. A store that can only be read is no problem of the replica's."""
        due = self._clock() >= self._due_at
        with contextlib.suppress(*UNAVAILABLE):
            for scene in live.keys() | refused.keys():
                snapshot = live.get(scene)
                state = {
                    "version": None if snapshot is None else snapshot.version,
                    "models": [] if snapshot is None else sorted(snapshot.models),
                    "refuses": refused.get(scene),
                }
                text = json.dumps(state)
                if due or self._told.get(scene) != text:
                    at = datetime.now(UTC).isoformat(timespec="seconds")
                    report = json.dumps({**state, "at": at.replace("+00:00", "Z")})
                    await self._store.report(scene, self._replica, report)
                    self._told[scene] = text
            if due:
                self._due_at = self._clock() + REPORT_EVERY_S

    async def leave(self) -> None:
        """Take this replica out of the lists, if the store answers."""
        with contextlib.suppress(*UNAVAILABLE):
            for scene in self._told:
                await self._store.forget(scene, self._replica)
