"""Score the shadow of a plan beside the answers: formulas on their heads, models on the side."""

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from service.experiment.document import Plan
from service.experiment.snapshot import Snapshot
from service.features.errors import InlineError
from service.fusion import Scores
from service.metrics import Metrics
from service.scoring.aside import Aside, Busy
from service.scoring.errors import RunFailed, RunStopped
from service.scoring.ranking import Evidence, RankInput, RankOutput, Treatment
from service.traffic.sampling import Sample
from service.traffic.shadow import Difference, Tally, difference

BUSY, STOPPED, FAILED, COMPARED = "busy", "stopped", "failed", "compared"

_MOST_FORMULAS = 64  # requests that wait for their shadow formula
_BATCH = 8  # of them are scored together: a thread is woken once for all
_SOON_S = 0.1
_MOST_MODELS = 4  # requests with a model's shadow under way

log = structlog.get_logger("finerank.shadow")

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class _Seen:
    """An answered request and what its shadow needs of it."""

    scene: str
    tally: Tally
    served: Scores
    shadow: Treatment
    evidence: Evidence


@dataclass
class _Scene:
    """The shadow of a scene, as long as it means the same."""

    serial: int
    meaning: object
    sample: Sample
    tally: Tally


@dataclass
class Shadowing:
    """The shadows of all scenes. Call it on the event loop."""

    aside: Aside
    metrics: Metrics
    _scenes: dict[str, _Scene] = field(default_factory=dict)
    _formulas: list[_Seen] = field(default_factory=list)
    _models: set[asyncio.Task[None]] = field(default_factory=set)
    _soon: asyncio.TimerHandle | None = None

    def add(self, snapshot: Snapshot, asked: RankInput, output: RankOutput) -> None:
        """Look at an answered request; what it costs comes later, on the side."""
        shadow, evidence = output.treatment.shadow, output.evidence
        if shadow is None or evidence is None or asked.explain:
            return
        if (scene := self._scene(snapshot)) is None:
            return
        # not the sample of the serving log
        if not scene.sample.takes(f"shadow:{asked.request_id}"):
            return
        rows = len(next(iter(evidence.heads.values()), ()))
        served = Scores(output.scores[:rows], output.valid[:rows])
        seen = _Seen(snapshot.scene, scene.tally, served, shadow, evidence)
        if shadow.model == output.model:
            self._wait(seen)
        elif len(self._models) < _MOST_MODELS:
            task = asyncio.get_running_loop().create_task(self._rescore(seen, asked.first(rows)))
            self._models.add(task)
            task.add_done_callback(self._models.discard)
        else:
            self._count(seen, BUSY)

    def tally(self, snapshot: Snapshot) -> Tally:
        """What the shadow of a live plan has done on this replica."""
        scene = self._scene(snapshot)
        return Tally() if scene is None else scene.tally

    def _scene(self, snapshot: Snapshot) -> _Scene | None:
        """None for a snapshot that a later one has replaced."""
        scene = self._scenes.get(snapshot.scene)
        if scene is not None and scene.serial >= snapshot.serial:
            return scene if scene.serial == snapshot.serial else None
        plan = snapshot.plan
        meaning = (plan.shadow, plan.formulas, snapshot.models)
        if scene is not None and scene.meaning == meaning:
            scene.serial = snapshot.serial
            return scene
        scene = _Scene(snapshot.serial, meaning, Sample(_share(plan)), Tally())
        self._scenes[snapshot.scene] = scene
        return scene

    def _wait(self, seen: _Seen) -> None:
        if len(self._formulas) >= _MOST_FORMULAS:
            self._count(seen, BUSY)
            return
        self._formulas.append(seen)
        if len(self._formulas) >= _BATCH:
            self._hand_over()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_SOON_S, self._hand_over)

    def _hand_over(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        batch, self._formulas = self._formulas, []
        loop = asyncio.get_running_loop()

        stopped = threading.Event()

        def work() -> None:
            found = [None if stopped.is_set() else _on_the_same_heads(seen) for seen in batch]
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._note, batch, found)

        if batch and not self.aside.workers.offer(work, stopped.set):
            for seen in batch:
                self._count(seen, BUSY)

    def _note(self, batch: list[_Seen], found: list[Difference | None]) -> None:
        for seen, one in zip(batch, found, strict=True):
            if one is None:
                self._count(seen, STOPPED)
            else:
                self._compared(seen, one)

    async def _rescore(self, seen: _Seen, asked: RankInput) -> None:
        try:
            scored = await self.aside.score(asked, seen.shadow)
        except Busy:
            self._count(seen, BUSY)
        except RunStopped:
            self._count(seen, STOPPED)
        except (RunFailed, InlineError) as err:
            self._count(seen, FAILED)
            log.warning("shadow_failed", scene=seen.scene, model=seen.shadow.model, error=str(err))
        else:
            shadow = Scores(scored.scores, scored.valid)
            self._compared(seen, difference(seen.served, shadow))

    def _compared(self, seen: _Seen, found: Difference) -> None:
        metrics, child, scene = self.metrics, self.metrics.child, seen.scene
        seen.tally.add(found)
        child(metrics.shadow_requests, scene, COMPARED).inc()
        child(metrics.shadow_candidates, scene).inc(found.candidates)
        if found.invalid:
            child(metrics.shadow_invalid, scene).inc(found.invalid)
        for depth, overlap in found.overlaps.items():
            child(metrics.shadow_overlap, scene, str(depth)).observe(overlap)
        if found.tau == found.tau:
            child(metrics.shadow_tau, scene).observe(found.tau)

    def _count(self, seen: _Seen, result: str) -> None:
        seen.tally.results[result] += 1
        self.metrics.child(self.metrics.shadow_requests, seen.scene, result).inc()


def _on_the_same_heads(seen: _Seen) -> Difference:
    evidence = seen.evidence
    scalars = seen.shadow.scalars(evidence.user, evidence.context)
    columns: dict[str, Floats] = {**evidence.heads, **evidence.attributes}
    scores = seen.shadow.formula(columns, scalars, rows=len(seen.served.values))
    return difference(seen.served, scores)


def _share(plan: Plan) -> float:
    return 0.0 if plan.shadow is None else plan.shadow.share_taken
