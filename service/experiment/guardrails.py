"""Which arm breaks the guardrails of its plan, by what this replica served in the last seconds.

An arm is to blame when it is over a limit, and the scene's other traffic is not or much less so:
an outage that all requests feel stops no arm. Two arms of a unit in two layers share their bad
requests; the worst goes first, and the rest is counted anew without it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.experiment.document import Guardrails, Settings
from service.experiment.snapshot import Snapshot
from service.experiment.walk import arm_id, arms
from service.experiment.window import Figures, Window

_CLEARLY = 2.0  # so many times as bad as the others
ArmKey = tuple[str, str]  # layer, "experiment/arm"


@dataclass(frozen=True)
class Breach:
    """An arm over a limit of its plan. `severity`: its figure in multiples of the limit."""

    layer: str
    arm: str
    limit: str
    why: str
    severity: float


@dataclass(frozen=True)
class _Limit:
    """`alone`: judged also where there is no other traffic to compare with, as in an outage."""

    name: str
    figure: Callable[[Figures], float]
    text: Callable[[Figures], str]
    alone: bool = False


_LIMITS = (
    _Limit(
        "max_invalid_share",
        lambda f: f.invalid_share,
        lambda f: f"{f.invalid_share:.2%} of {f.candidates} candidates have no finite score",
        alone=True,
    ),
    _Limit(
        "max_degraded_share",
        lambda f: f.degraded_share,
        lambda f: f"{f.degraded_share:.2%} of {f.requests} requests are degraded",
    ),
    _Limit(
        "max_p99_ms",
        lambda f: f.p99_ms,
        lambda f: f"the 99th percentile of {f.requests} latencies is {f.p99_ms:.1f} ms",
    ),
)


@dataclass
class _Watch:
    """One scene's windows under plans in which the arms mean the same."""

    serial: int
    meaning: object
    limits: Guardrails
    whole: Window
    arms: Mapping[ArmKey, Window]


class Guard:
    """Counts by arm and judges. Call it on the event loop; `clock` is monotonic, in s.

    A snapshot that a later one has replaced is neither counted nor judged any more.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._scenes: dict[str, _Watch] = {}

    def add(
        self,
        snapshot: Snapshot,
        assignments: Mapping[str, str],
        *,
        degraded: bool,
        candidates: int,
        invalid: int,
        latency_ms: float,
    ) -> None:
        """Count a request in its arms. `candidates`: scored; `invalid`: without a finite score."""
        if (watch := self._watch(snapshot)) is None:
            return
        now_s = self._clock()
        watch.whole.now(now_s).add(degraded, candidates, invalid, latency_ms)
        for pair in assignments.items():
            if (window := watch.arms.get(pair)) is not None:
                window.now(now_s).add(degraded, candidates, invalid, latency_ms)

    def figures(self, snapshot: Snapshot) -> dict[ArmKey, Figures]:
        """What the window of each watched arm holds: of those that run and change something."""
        if (watch := self._watch(snapshot)) is None:
            return {}
        now_s = self._clock()
        return {key: window.sum(now_s) for key, window in watch.arms.items()}

    def breach(self, snapshot: Snapshot) -> Breach | None:
        """The worst arm over a limit, or None."""
        if (watch := self._watch(snapshot)) is None:
            return None
        now_s = self._clock()
        whole = watch.whole.sum(now_s)
        found = [
            breach
            for key, window in watch.arms.items()
            for breach in _breaches(watch.limits, key, window.sum(now_s), whole)
        ]
        return max(found, key=lambda breach: breach.severity, default=None)

    def _watch(self, snapshot: Snapshot) -> _Watch | None:
        watch, limits = self._scenes.get(snapshot.scene), snapshot.plan.guardrails
        if limits is None:
            return None
        if watch is not None and watch.serial >= snapshot.serial:
            return watch if watch.serial == snapshot.serial else None
        plan = snapshot.plan
        meaning = (limits, plan.formulas, plan.default, plan.layers, snapshot.models)
        if watch is not None and watch.meaning == meaning:
            watch.serial = snapshot.serial
            return watch
        watched = {
            (layer.name, arm_id(experiment, arm)): Window(limits.window_s)
            for _, layer, experiment, arm in arms(plan)
            if arm.applied != Settings()
        }
        fresh = _Watch(snapshot.serial, meaning, limits, Window(limits.window_s), watched)
        self._scenes[snapshot.scene] = fresh
        return fresh


def _breaches(limits: Guardrails, key: ArmKey, arm: Figures, whole: Figures) -> list[Breach]:
    if arm.requests < limits.least_requests:
        return []
    others = whole - arm
    comparable = others.requests >= limits.least_requests
    found = []
    for limit in _LIMITS:
        allowed = getattr(limits, limit.name)
        if allowed is None or not (comparable or limit.alone):
            continue
        own, elsewhere = limit.figure(arm), limit.figure(others) if comparable else 0.0
        if own <= allowed or (elsewhere > allowed and own < _CLEARLY * elsewhere):
            continue
        beside = f" (others: {limit.text(others)})" if comparable else ""
        why = f"{limit.name} is {allowed:g}, but {limit.text(arm)} in {limits.window_s:g} s{beside}"
        severity = own / allowed if allowed else float("inf")
        found.append(Breach(*key, limit.name, why, severity))
    return found
