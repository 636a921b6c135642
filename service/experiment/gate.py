"""Who of an experiment's buckets is in it now: the ramp's share of them, under its condition."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.experiment.document import Experiment, RampStep, read_instant
from service.experiment.hashes import BUCKETS
from service.experiment.scalars import to_number
from service.fusion import Condition, compile_condition


@dataclass(frozen=True, slots=True)
class Ramp:
    """The first `sizes[i]` buckets from `starts_s[i]` on (Unix time), none before the first."""

    starts_s: tuple[float, ...]
    sizes: tuple[int, ...]
    places: Mapping[int, int] = field(repr=False)  # bucket -> its place among the experiment's

    def size(self, now_s: float) -> int:
        """How many buckets are in."""
        step = bisect_right(self.starts_s, now_s)
        return self.sizes[step - 1] if step else 0

    def lets_in(self, slot: int, now_s: float) -> bool:
        return self.places[slot] < self.size(now_s)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a unit must pass beyond its bucket."""

    ramp: Ramp | None
    when: Condition | None

    def lets_in(
        self, slot: int, now_s: float, user: Mapping[str, Any], context: Mapping[str, Any]
    ) -> bool:
        if self.ramp is not None and not self.ramp.lets_in(slot, now_s):
            return False
        return self.when is None or is_met(self.when, user, context)


def is_met(when: Condition, user: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    """Whether the inline values of a request meet a condition; true is 1, false is 0."""
    sides = {"user": user, "context": context}
    parts = (full.partition(".") for full in when.scalars)
    return when(tuple(to_number(sides[side].get(name)) for side, _, name in parts))


def gate_of(experiment: Experiment) -> Gate | None:
    """The gate of an experiment that is well formed; None when its buckets alone decide."""
    if not experiment.ramp and experiment.when is None:
        return None
    when = None if experiment.when is None else compile_condition(experiment.when)
    return Gate(_ramp(experiment) if experiment.ramp else None, when)


def whole_buckets(step: RampStep) -> int | None:
    """The buckets of a step; None when its percent is no whole number of them."""
    exact = step.percent * (BUCKETS / 100)
    return round(exact) if abs(exact - round(exact)) < 1e-6 else None


def _ramp(experiment: Experiment) -> Ramp:
    slots = (slot for first, last in experiment.buckets for slot in range(first, last + 1))
    return Ramp(
        starts_s=tuple(read_instant(step.at).timestamp() for step in experiment.ramp),
        sizes=tuple(whole_buckets(step) or 0 for step in experiment.ramp),
        places={slot: place for place, slot in enumerate(slots)},
    )
