"""What this replica runs and refuses, told to the store for everybody to see."""

import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import redis

from service.experiment.connection import UNAVAILABLE, is_about_a_key
from service.experiment.snapshot import Snapshot
from service.experiment.store import PlanStore

REPORT_EVERY_S = 30.0
GONE_AFTER_S = 3 * REPORT_EVERY_S  # without a report


@dataclass(frozen=True)
class Report:
    """What a replica said last; `at` is RFC 3339, None where the text was no report."""

    version: int | None
    models: list[str]
    refuses: str | None
    at: str | None

    def is_live(self, now_s: float) -> bool:
        """Whether the replica has reported lately; `now_s`: Unix time."""
        if self.at is None:
            return False
        return now_s - datetime.fromisoformat(self.at).timestamp() < GONE_AFTER_S


def read_report(text: str) -> Report:
    """What `Reporter` has written; anything else is a report without content."""
    try:
        fields = json.loads(text)
        report = Report(*(fields[key] for key in ("version", "models", "refuses", "at")))
        datetime.fromisoformat(str(report.at))
    except (ValueError, KeyError, TypeError):
        return Report(None, [], None, None)
    return report


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
                    await _apart(self._store.report(scene, self._replica, report))
                    self._told[scene] = text
            if due:
                self._due_at = self._clock() + REPORT_EVERY_S

    async def leave(self) -> None:
        """Take this replica out of the lists, if the store answers."""
        with contextlib.suppress(*UNAVAILABLE):
            for scene in self._told:
                await _apart(self._store.forget(scene, self._replica))


async def _apart(told: Awaitable[None]) -> None:
    """A scene whose list is no hash, written by hand, holds up no other."""
    try:
        await told
    except redis.ResponseError as err:
        if not is_about_a_key(err):
            raise
