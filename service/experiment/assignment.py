"""Who is in which arm: pure arithmetic on hashes, the same in every process and language.

bucket = first 8 bytes (big-endian, unsigned) of SHA-256 of UTF-8 `salt:unit`, mod 10 000;
the arm's slot is the same hash of `salt:experiment:unit`, so growing an experiment moves
nobody who is in it. (A layer may name another system's hash: `hashes`.)
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from math import ceil
from types import MappingProxyType
from typing import Any

from service.experiment.document import Arm, Layer, Ranges
from service.experiment.gate import Gate, gate_of
from service.experiment.hashes import BUCKETS, HASHES, Hash, HashName, bucket
from service.experiment.walk import arm_id, variants

UNASSIGNED = 0
NOTHING: Mapping[str, Any] = MappingProxyType({})
_NOBODY = -1


def arm_limits(shares: Sequence[float]) -> tuple[int, ...]:
    """Upper slot limit (exclusive) of each arm: cumulative shares, normalised to 10 000 slots.

    A slot h belongs to the first arm with h < 10 000 · (cumulative share) / (sum of shares).
    Shares are taken as the decimals they are written as: 0.1 + 0.2 + 0.7 has no rounding error.
    """
    sums = list(accumulate(Fraction(str(share)) for share in shares))
    return tuple(ceil(BUCKETS * s / sums[-1]) for s in sums)


@dataclass(frozen=True, slots=True)
class ArmSlots:
    """An arm: its first choice, and the params whose sign is hashed.

    Each param with its sign + adds 1, 2, 4 … to the choice.
    """

    id: str  # "experiment/arm"
    seed: str
    choice: int
    perturbed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExperimentSlots:
    """One experiment as lookup: slots below `limits[i]` and not below the one before are `arms[i]`.

    `gate` says who else is left out, by time or condition; None when nobody is.
    """

    name: str
    seed: str
    limits: tuple[int, ...]
    arms: tuple[ArmSlots | None, ...]
    gate: Gate | None

    def arm(self, slot: int) -> ArmSlots | None:
        place = bisect_right(self.limits, slot)
        return self.arms[place] if place < len(self.arms) else None


@dataclass(frozen=True, slots=True)
class LayerSlots:
    """A layer as lookup tables. `experiments` has one entry a bucket: an experiment or None."""

    name: str
    salt: str
    unit: str
    hash_name: HashName
    slice_s: int | None
    experiments: tuple[ExperimentSlots | None, ...] = field(repr=False)
    arms: Mapping[str, ArmSlots]  # by id; without the stopped ones
    hash: Hash = field(repr=False)

    def choose(self, unit: str) -> tuple[int, int]:
        """Bucket of a unit, and its choice: UNASSIGNED or the number of an arm."""
        slot = self.hash.bucket(self.salt, unit)
        return slot, self.take(slot, unit)

    def take(
        self,
        slot: int,
        unit: str,
        now_s: float = 0.0,
        user: Mapping[str, Any] = NOTHING,
        context: Mapping[str, Any] = NOTHING,
    ) -> int:
        """The choice of a unit in a bucket, whoever put it there."""
        experiment = self.experiments[slot]
        if experiment is None:
            return UNASSIGNED
        if experiment.gate is not None and not experiment.gate.lets_in(slot, now_s, user, context):
            return UNASSIGNED
        return self.choice(experiment.arm(self.arm_slot(experiment, unit)), unit)

    def arm_slot(self, experiment: ExperimentSlots, unit: str) -> int:
        return self.hash.arm_slot(self.salt, experiment.seed, unit)

    def choice(self, arm: ArmSlots | None, unit: str) -> int:
        """The number of an arm, the unit's signs included."""
        if arm is None:
            return UNASSIGNED
        if not arm.perturbed:
            return arm.choice
        signs = self.signs(arm, unit)
        return arm.choice + sum(1 << i for i, name in enumerate(arm.perturbed) if signs[name] > 0)

    def signs(self, arm: ArmSlots, unit: str) -> dict[str, int]:
        """Param -> +1 or -1: the lower half of the buckets of `salt:seed:param:unit` is +1."""
        return {
            name: 1 if bucket(self.salt, arm.seed, name, unit) < BUCKETS // 2 else -1
            for name in arm.perturbed
        }

    def sliced(self, unit: str | None, now_s: float) -> str | None:
        """What is hashed in a switchback: the slice of the time joins the unit."""
        if self.slice_s is None:
            return unit
        index = int(now_s // self.slice_s)
        if self.unit == "time":
            return str(index)
        return None if unit is None else f"{unit}@{index}"


def layer_slots(layer: Layer) -> LayerSlots:
    """The tables of a layer whose ranges do not overlap."""
    table: list[ExperimentSlots | None] = [None] * BUCKETS
    arms: dict[str, ArmSlots] = {}
    next_choice = 1
    for experiment in layer.experiments:
        seed = experiment.seed or experiment.name
        own: list[ArmSlots | None] = []
        for arm in experiment.arms:
            slots = ArmSlots(arm_id(experiment, arm), seed, next_choice, tuple(arm.applied.perturb))
            next_choice += variants(arm)
            running = arm.stopped is None
            own.append(slots if running else None)
            if running:
                arms[slots.id] = slots
        limits, order = _places(experiment.arms)
        found = ExperimentSlots(
            experiment.name,
            seed,
            limits,
            tuple(None if i == _NOBODY else own[i] for i in order),
            gate_of(experiment),
        )
        for first, last in experiment.buckets:
            table[first : last + 1] = [found] * (last + 1 - first)
    return LayerSlots(
        name=layer.name,
        salt=layer.salt,
        unit=layer.unit,
        hash_name=layer.hash,
        slice_s=layer.slice_s,
        experiments=tuple(table),
        arms=arms,
        hash=HASHES[layer.hash],
    )


def arm_sizes(arms: Sequence[Arm]) -> tuple[int, ...]:
    """How many of the 10 000 slots each arm has."""
    limits, order = _places(arms)
    sizes = [0] * len(arms)
    for below, limit, place in zip((0, *limits), limits, order, strict=False):
        if place != _NOBODY:
            sizes[place] += limit - below
    return tuple(sizes)


def _places(arms: Sequence[Arm]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Limits of consecutive slot ranges, and the place of the arm of each, or _NOBODY."""
    if arms[0].slots is None:
        return arm_limits([arm.share or 0.0 for arm in arms]), tuple(range(len(arms)))
    limits, order = [], []
    ranges = sorted((r, place) for place, arm in enumerate(arms) for r in arm.slots or ())
    end = 0
    for (first, last), place in ranges:
        if first > end:
            limits.append(first)
            order.append(_NOBODY)
        end = last + 1
        limits.append(end)
        order.append(place)
    return tuple(limits), tuple(order)


def within(ranges: Ranges, slot: int) -> bool:
    return any(first <= slot <= last for first, last in ranges)


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
    if unit == "time":
        return None  # the slice is all of it: `LayerSlots.sliced`
    value = context.get(unit.removeprefix("context."))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value or None if isinstance(value, str) else None
