"""How a request came to its arms, layer by layer: enough to redo every step by hand."""

import time
from collections.abc import Mapping
from typing import Any

from service.experiment.assignment import NOTHING, ExperimentSlots, LayerSlots, unit_of
from service.experiment.gate import is_met
from service.experiment.hashes import BUCKETS
from service.experiment.snapshot import Asked, Snapshot

Line = dict[str, Any]


def bucket_arithmetic(
    snapshot: Snapshot,
    user_id: str | None,
    request_id: str | None,
    context: Mapping[str, Any],
    user: Mapping[str, Any] = NOTHING,
    asked: Asked = NOTHING,
    now_s: float | None = None,
) -> list[Line]:
    """One line a layer: what was hashed, the slots it gave, and what decided otherwise.

    Takes what `Snapshot.assign` takes. A layer's line has `held_out`, `asked` or `forced` where
    that decided, and an experiment's `percent` and `when` where one of them can leave a unit out.
    """
    now_s = time.time() if now_s is None else now_s
    forced = snapshot.plan.force.get(user_id or "", {})
    held_out = snapshot.is_held_out(user_id, request_id, context)
    lines = []
    for layer in snapshot.layers:
        value = unit_of(layer.unit, user_id, request_id, context)
        unit = layer.sliced(value, now_s)
        own = asked.get(layer.name)
        line: Line = {"layer": layer.name, "unit": layer.unit, "value": unit}
        slot = own if isinstance(own, int) else None
        if slot is None and unit is not None:
            slot = layer.hash.bucket(layer.salt, unit)
            line["hashed"] = _hashed(layer, unit)
        if slot is not None:
            line["bucket"] = slot
            text = str(slot) if unit is None else unit
            if (experiment := layer.experiments[slot]) is not None:
                line |= _of_experiment(layer, experiment, text)
                line |= _of_gate(experiment, slot, now_s, user, context)
        if layer.name in forced:
            line["forced"] = forced[layer.name]
        elif own is not None:
            line["asked"] = own
        elif held_out and not forced:
            line["held_out"] = True
        lines.append(line)
    return lines


def _of_experiment(layer: LayerSlots, experiment: ExperimentSlots, unit: str) -> Line:
    slot = layer.arm_slot(experiment, unit)
    line: Line = {
        "experiment": experiment.name,
        "arm_hashed": _hashed(layer, unit, experiment.seed),
        "arm_slot": slot,
        "arm_limits": experiment.limits,
    }
    arm = experiment.arm(slot)
    if arm is not None and arm.perturbed:
        line["signs"] = layer.signs(arm, unit)
    return line


def _of_gate(
    experiment: ExperimentSlots,
    slot: int,
    now_s: float,
    user: Mapping[str, Any],
    context: Mapping[str, Any],
) -> Line:
    line: Line = {}
    gate = experiment.gate
    if gate is not None and gate.ramp is not None:
        line["percent"] = gate.ramp.size(now_s) * 100 / BUCKETS
        line["in_ramp"] = gate.ramp.lets_in(slot, now_s)
    if gate is not None and gate.when is not None:
        line["when"] = gate.when.source
        line["met"] = is_met(gate.when, user, context)
    return line


def _hashed(layer: LayerSlots, unit: str, seed: str | None = None) -> str:
    """The text that went into the hash, as far as one text did."""
    if layer.hash_name == "pairec":
        return "_".join([unit, layer.salt, *([] if seed is None else [seed])])
    if layer.hash_name == "growthbook":
        return f"{unit}__{layer.salt}" if seed is None else f"{seed}{unit}"
    return ":".join([layer.salt, *([] if seed is None else [seed]), unit])
