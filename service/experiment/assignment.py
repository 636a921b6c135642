"""Who is in which arm: pure arithmetic on hashes, the same in every process and language.

bucket = first 8 bytes (big-endian, unsigned) of SHA-256 of UTF-8 `salt:unit`, mod 10 000;
the arm's slot is the same hash of `salt:experiment:unit`, so growing an experiment moves
nobody who is in it.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from math import ceil
from typing import Any

from service.experiment.document import BUCKETS, Layer

UNASSIGNED = 0


def bucket(*parts: str) -> int:
    """The slot 0 … 9999 of the parts joined by ":"."""
    digest = hashlib.sha256(":".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def arm_limits(shares: Sequence[float]) -> tuple[int, ...]:
    """Upper slot limit (exclusive) of each arm: cumulative shares, normalised to 10 000 slots.

    A slot h belongs to the first arm with h < 10 000 · (cumulative share) / (sum of shares).
    Shares are taken as the decimals they are written as: 0.1 + 0.2 + 0.7 has no rounding error.
    """
    sums = list(accumulate(Fraction(str(share)) for share in shares))
    return tuple(ceil(BUCKETS * s / sums[-1]) for s in sums)


@dataclass(frozen=True, slots=True)
class ExperimentSlots:
    """One experiment as lookup: its arms are the choices `first_choice` … of the layer."""

    name: str
    first_choice: int
    limits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayerSlots:
    """A layer as lookup tables. `experiments` has one entry a bucket: an experiment or None."""

    name: str
    salt: str
    unit: str
    experiments: tuple[ExperimentSlots | None, ...] = field(repr=False)
    choices: Mapping[str, int]  # "experiment/arm" -> choice, 1 …

    def choose(self, unit: str) -> tuple[int, int]:
        """Bucket of a unit, and its choice: UNASSIGNED or the number of an arm."""
        slot = bucket(self.salt, unit)
        experiment = self.experiments[slot]
        if experiment is None:
            return slot, UNASSIGNED
        arm = bisect_right(experiment.limits, bucket(self.salt, experiment.name, unit))
        return slot, experiment.first_choice + arm


def layer_slots(layer: Layer) -> LayerSlots:
    """The tables of a layer whose ranges do not overlap."""
    table: list[ExperimentSlots | None] = [None] * BUCKETS
    choices: dict[str, int] = {}
    for experiment in layer.experiments:
        limits = arm_limits([arm.share for arm in experiment.arms])
        slots = ExperimentSlots(experiment.name, len(choices) + 1, limits)
        for arm in experiment.arms:
            choices[f"{experiment.name}/{arm.name}"] = len(choices) + 1
        for first, last in experiment.buckets:
            table[first : last + 1] = [slots] * (last + 1 - first)
    return LayerSlots(layer.name, layer.salt, layer.unit, tuple(table), choices)


def unit_of(
    unit: str, user_id: str | None, request_id: str | None, context: Mapping[str, Any]
) -> str | None:
    """The text that is hashed for a unit; None when the request lacks it.

    A context value must be a string or an integer (its decimal text); an empty string is no unit.
    """
    if unit == "user_id":
        return user_id or None
    if unit == "request_id":
        return request_id or None
    value = context.get(unit.removeprefix("context."))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value or None if isinstance(value, str) else None
