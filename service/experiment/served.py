"""What this replica served: requests of each arm, and a sample of the distinct units behind them.

The sample is uniform over units and bounded: a unit is in it when the low bits of its hash are 0,
and whenever it is full one bit more is asked for. In it every unit counts once, exactly.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import mul
from typing import Any, Protocol

from service.experiment.assignment import NOTHING, LayerSlots, arm_sizes, unit_of
from service.experiment.document import Experiment
from service.experiment.hashes import BUCKETS
from service.experiment.sample_ratio import Ratio, sample_ratio
from service.experiment.snapshot import Asked, Snapshot
from service.experiment.walk import arm_id

MOST_UNITS = 20_000  # of one experiment, some 2 MB


class Request(Protocol):
    """What of a request says which units it stands for."""

    @property
    def user_id(self) -> str | None: ...
    @property
    def request_id(self) -> str: ...
    @property
    def context(self) -> Mapping[str, Any]: ...
    @property
    def asked(self) -> Asked: ...


@dataclass
class Tally:
    """The counts of one experiment, from its first request on; `arms` in plan order."""

    definition: tuple[object, ...]
    arms: tuple[str, ...]
    sizes: tuple[int, ...]
    requests: list[int]
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    one_in: int = 1  # this share of all units is in the sample
    _units: dict[int, int] = field(default_factory=dict)  # hash of a unit -> place of its arm

    def add(self, place: int, unit: str) -> None:
        self.requests[place] += 1
        key = hash(unit)
        if key & (self.one_in - 1):
            return
        self._units[key] = place
        while len(self._units) > MOST_UNITS:
            self.one_in *= 2
            self._units = {k: p for k, p in self._units.items() if not k & (self.one_in - 1)}

    def units(self) -> list[int]:
        """Sampled units of each arm."""
        counts = [0] * len(self.arms)
        for place in self._units.values():
            counts[place] += 1
        return counts

    def ratio(self) -> Ratio:
        return sample_ratio(self.units(), self.sizes)


class Served:
    """Tallies by scene. An experiment that is published again as it was goes on counting.

    Late answers of a snapshot that another one has replaced are not counted.
    """

    def __init__(self) -> None:
        self._serials: dict[str, int] = {}
        # scene -> (layer, "experiment/arm") -> (layer's tables, tally, place of the arm)
        self._arms: dict[str, dict[tuple[str, str], tuple[LayerSlots, Tally, int]]] = {}

    def add(
        self,
        snapshot: Snapshot,
        assignments: Mapping[str, str],
        request: Request,
    ) -> None:
        """Count an answered request in its arms; not where somebody put it there by hand."""
        if not self._is_current(snapshot):
            return
        forced = snapshot.plan.force.get(request.user_id or "", NOTHING)
        arms = self._arms[snapshot.scene]
        for pair in assignments.items():
            if pair not in arms or pair[0] in forced or pair[0] in request.asked:
                continue
            layer, tally, place = arms[pair]
            unit = unit_of(layer.unit, request.user_id, request.request_id, request.context)
            unit = layer.sliced(unit, time.time())
            if unit is not None:
                tally.add(place, unit)

    def tallies(self, snapshot: Snapshot) -> dict[tuple[str, str], Tally]:
        """(layer, experiment) -> tally, of every experiment of the snapshot, in plan order.

        Empty where a later snapshot is counted already.
        """
        found: dict[tuple[str, str], Tally] = {}
        if not self._is_current(snapshot):
            return found
        for (layer, arm), (_, tally, _) in self._arms[snapshot.scene].items():
            found[layer, arm.partition("/")[0]] = tally
        return found

    def _is_current(self, snapshot: Snapshot) -> bool:
        known = self._serials.get(snapshot.scene, -1)
        if known < snapshot.serial:
            self._follow(snapshot)
        return known <= snapshot.serial

    def _follow(self, snapshot: Snapshot) -> None:
        """Take over the experiments of another version; what they share with the last goes on."""
        before = {
            (layer, tally.definition): tally
            for (layer, _), (_, tally, _) in self._arms.get(snapshot.scene, {}).items()
        }
        arms: dict[tuple[str, str], tuple[LayerSlots, Tally, int]] = {}
        for layer, slots in zip(snapshot.plan.layers, snapshot.layers, strict=True):
            for experiment in layer.experiments:
                fresh = _tally(slots, experiment)
                tally = before.get((layer.name, fresh.definition), fresh)
                for place, arm in enumerate(tally.arms):
                    arms[layer.name, arm] = (slots, tally, place)
        self._arms[snapshot.scene] = arms
        self._serials[snapshot.scene] = snapshot.serial


def percent_now(slots: LayerSlots, experiment: Experiment, now_s: float) -> float:
    """The share of its layer's traffic that an experiment may take now, in percent."""
    first = slots.experiments[experiment.buckets[0][0]] if experiment.buckets else None
    gate = None if first is None else first.gate
    if gate is not None and gate.ramp is not None:
        return gate.ramp.size(now_s) * 100 / BUCKETS
    return sum(last + 1 - first for first, last in experiment.buckets) * 100 / BUCKETS


def _tally(slots: LayerSlots, experiment: Experiment) -> Tally:
    """An empty tally. The definition is what decides who gets which arm of those who are in."""
    names = tuple(arm_id(experiment, arm) for arm in experiment.arms)
    running = [arm.stopped is None for arm in experiment.arms]
    sizes = tuple(map(mul, arm_sizes(experiment.arms), running))
    seed = experiment.seed or experiment.name
    definition = (slots.salt, slots.unit, slots.hash_name, slots.slice_s, seed, names, sizes)
    return Tally(definition, names, sizes, [0] * len(names))
