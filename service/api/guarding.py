"""Count what was served against the guardrails of its plan, and stop the arm that breaks them.

Every replica counts its own traffic and may publish; one write wins. The others see a version that
they did not count for, and judge again when they serve it.
"""

import asyncio
from dataclasses import dataclass, field

import structlog

from service.api.etags import Precondition
from service.api.publishing import Publisher, Signature
from service.errors import EtagMismatch, ServiceError
from service.experiment.errors import NotRunning
from service.experiment.guardrails import Breach, Guard
from service.experiment.snapshot import Snapshot
from service.experiment.stopped import stop_arm
from service.metrics import Metrics
from service.scoring.answers import INVALID_SCORE
from service.scoring.errors import NotScored
from service.scoring.ranking import RankInput, RankOutput
from service.scoring.scorer import FEWER_CANDIDATES

AUTHOR = "guardrail"

_EVERY_S = 1.0

log = structlog.get_logger("finerank.guardrails")


def guard_ranked(
    guard: Guard, snapshot: Snapshot, asked: RankInput, output: RankOutput, seconds: float
) -> None:
    """Count an answer; one with explanations is for people, and slow."""
    if snapshot.plan.guardrails is None or asked.explain:
        return
    degraded = output.degraded
    invalid = degraded.get(INVALID_SCORE, 0)
    scored = 0 if output.evidence is None else len(asked.ids) - degraded.get(FEWER_CANDIDATES, 0)
    guard.add(
        snapshot,
        output.treatment.assignments,
        degraded=len(degraded) > bool(invalid),
        candidates=scored,
        invalid=invalid,
        latency_ms=seconds * 1000,
    )


def guard_unscored(guard: Guard, snapshot: Snapshot, refusal: NotScored, seconds: float) -> None:
    """Count a request that was answered 503 for want of any score."""
    guard.add(
        snapshot,
        refusal.assignments,
        degraded=True,
        candidates=0,
        invalid=0,
        latency_ms=seconds * 1000,
    )


@dataclass(frozen=True)
class Watcher:
    """Looks every second whether an arm of a live scene has to be stopped."""

    publisher: Publisher
    guard: Guard
    metrics: Metrics
    replica: str
    _refused: dict[str, str] = field(default_factory=dict)  # scene -> why it could not, logged once
    _stopping: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # by scene

    async def run(self) -> None:
        """Until cancelled; survives everything else."""
        try:
            while True:
                await asyncio.sleep(_EVERY_S)
                self.look()
        finally:
            tasks = list(self._stopping.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def look(self) -> None:
        """Begin to stop the worst arm of each scene that has one over a limit.

        No scene waits for what is published in another, or for its models.
        """
        loader = self.publisher.loader
        for scene in loader.scenes():
            snapshot = loader.snapshot(scene)
            if snapshot is None or scene in self._stopping:
                continue
            try:
                breach = self.guard.breach(snapshot)
            except Exception:
                log.exception("guardrails_failed", scene=scene)
                continue
            if breach is not None:
                self._stopping[scene] = asyncio.create_task(self._try_to_stop(snapshot, breach))

    async def _try_to_stop(self, snapshot: Snapshot, breach: Breach) -> None:
        try:
            await self._stop(snapshot, breach)
        except Exception:
            log.exception("guardrails_failed", scene=snapshot.scene)
        finally:
            del self._stopping[snapshot.scene]

    async def _stop(self, snapshot: Snapshot, breach: Breach) -> None:
        scene, only = snapshot.scene, Precondition(versions=frozenset({snapshot.version}))
        message = f"stopped {breach.layer}:{breach.arm} on {self.replica}: {breach.why}"
        try:
            published = await self.publisher.edit(
                scene,
                only,
                lambda live: stop_arm(live.plan, breach.layer, breach.arm, breach.why),
                Signature(AUTHOR, message),
            )
        except (EtagMismatch, NotRunning):
            return  # somebody published meanwhile: what was counted is of another version
        except ServiceError as refusal:
            if self._refused.get(scene) != str(refusal):
                self._refused[scene] = str(refusal)
                log.error("arm_not_stopped", scene=scene, arm=breach.arm, reason=str(refusal))
            return
        self._refused.pop(scene, None)
        self.metrics.guardrail_stops.labels(scene, breach.limit).inc()
        log.warning(
            "arm_stopped",
            scene=scene,
            layer=breach.layer,
            arm=breach.arm,
            version=published.version,
            reason=breach.why,
        )
