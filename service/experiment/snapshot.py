"""A plan ready to serve: immutable, compiled, checked; read with no lock and no network."""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from service.experiment.assignment import (
    NOTHING,
    UNASSIGNED,
    ArmSlots,
    LayerSlots,
    layer_slots,
    unit_of,
    within,
)
from service.experiment.document import Plan, Step
from service.experiment.effects import Choice
from service.experiment.errors import PlanInvalid
from service.experiment.findings import Finding, errors
from service.experiment.freeze import served
from service.experiment.hashes import bucket
from service.experiment.rules import agree
from service.experiment.traffic_rules import HOLDOUT
from service.experiment.treatments import Compiler, Models, Treatment
from service.experiment.walk import declared_params
from service.fusion import compile_condition

Asked = Mapping[str, int | str]  # layer -> bucket, or "experiment/arm"

IN_HOLDOUT = "in"  # the arm that replies show of who is held out

_SERIALS = itertools.count(1)

_CONTEXT = "context."
_USER = "user."


@dataclass(frozen=True)
class Snapshot:
    """A version of a scene's plan with its treatments. `models`: every "name/version" of theirs.

    `serial` tells which of two of this process is the later one. Versions do not: another store
    counts anew, and an alias that moves makes another snapshot of the same version.
    """

    scene: str
    version: int
    plan: Plan = field(repr=False)
    deadline_ms: float
    models: frozenset[str]
    ladder: tuple[Step, ...]
    layers: tuple[LayerSlots, ...] = field(repr=False)
    # choice of each layer -> treatment
    treatments: Mapping[Choice, Treatment] = field(repr=False)
    # user id -> layer -> arm, None where that is stopped
    forced: Mapping[str, Mapping[str, ArmSlots | None]] = field(repr=False)
    serial: int = field(default=0, repr=False, compare=False)

    @cached_property
    def context_units(self) -> frozenset[str]:
        """Context names that a layer draws its buckets by, or a condition reads."""
        units = {layer.unit for layer in self.layers} | self._read_by_conditions
        if self.plan.holdout is not None:
            units.add(self.plan.holdout.unit)
        return frozenset(u.removeprefix(_CONTEXT) for u in units if u.startswith(_CONTEXT))

    @cached_property
    def user_names(self) -> frozenset[str]:
        """Names of inline user values that a condition reads."""
        return frozenset(
            n.removeprefix(_USER) for n in self._read_by_conditions if n.startswith(_USER)
        )

    @cached_property
    def _read_by_conditions(self) -> frozenset[str]:
        texts = [e.when for layer in self.plan.layers for e in layer.experiments if e.when]
        return frozenset(name for text in texts for name in compile_condition(text).scalars)

    @cached_property
    def _reads_clock(self) -> bool:
        return any(
            layer.slice_s is not None or any(e.ramp for e in layer.experiments)
            for layer in self.plan.layers
        )

    def assign(
        self,
        user_id: str | None,
        request_id: str | None,
        context: Mapping[str, Any],
        user: Mapping[str, Any] = NOTHING,
        asked: Asked = NOTHING,
        now_s: float | None = None,
    ) -> Treatment:
        """The treatment of a request: one hash a layer (two where an experiment is), one lookup.

        Each layer is decided by the first of: a forced user, the caller's own assignment (`asked`,
        see `read_asked`), the holdout, the hash. `user`: inline values; `now_s`: Unix time, for
        ramps and time slices, by the clock when absent.
        """
        forced = (self.forced.get(user_id) if user_id else None) or NOTHING
        if now_s is None:
            now_s = time.time() if self._reads_clock else 0.0
        held_out = self.is_held_out(user_id, request_id, context) and not forced
        buckets: dict[str, int] = {}
        choices = []
        for layer in self.layers:
            unit = unit_of(layer.unit, user_id, request_id, context)
            if layer.slice_s is not None:
                unit = layer.sliced(unit, now_s)
            slot, choice = None, UNASSIGNED
            own = asked.get(layer.name) if asked else None
            if isinstance(own, int):
                slot = own
            elif unit is not None:
                slot = layer.hash.bucket(layer.salt, unit)
            if slot is not None:
                buckets[layer.name] = slot
            if layer.name in forced:
                choice = layer.choice(forced[layer.name], unit or user_id or "")
            elif isinstance(own, str):
                choice = layer.choice(layer.arms.get(own), unit or user_id or "")
            elif slot is not None and (own is not None or not held_out):
                text = str(slot) if unit is None else unit
                choice = layer.take(slot, text, now_s, user, context)
            choices.append(choice)
        treatment = self.treatments[tuple(choices)]
        if held_out:
            return _marked_held_out(treatment, buckets)
        return Treatment(*treatment[:-1], buckets) if buckets else treatment

    @property
    def default(self) -> Treatment:
        """What who is in no experiment gets."""
        return self.treatments[(UNASSIGNED,) * len(self.layers)]

    @cached_property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        """Param -> least and greatest value, plan-wide."""
        return {name: (param.min, param.max) for name, _, param in declared_params(self.plan)}

    def is_held_out(
        self, user_id: str | None, request_id: str | None, context: Mapping[str, Any]
    ) -> bool:
        holdout = self.plan.holdout
        if holdout is None:
            return False
        unit = unit_of(holdout.unit, user_id, request_id, context)
        return unit is not None and within(holdout.buckets, bucket(holdout.salt, unit))

    def read_asked(self, given: int | Asked | None) -> tuple[Asked, tuple[str, ...]]:
        """The caller's own assignment by layer, and the layers where this plan cannot follow it.

        A number is the bucket in a layer, alone that of every layer; a text is an arm,
        "experiment/arm", or "" for no experiment.
        """
        if given is None:
            return NOTHING, ()
        if isinstance(given, int):
            return dict.fromkeys((layer.name for layer in self.layers), given), ()
        arms: dict[str, Mapping[str, ArmSlots]] = {layer.name: layer.arms for layer in self.layers}
        known = {
            name: own
            for name, own in given.items()
            if name in arms and (isinstance(own, int) or own == "" or own in arms[name])
        }
        return known, tuple(name for name in given if name not in known)


def _marked_held_out(treatment: Treatment, buckets: dict[str, int]) -> Treatment:
    ids = f"{HOLDOUT}:{IN_HOLDOUT}"
    return treatment._replace(
        assignments={HOLDOUT: IN_HOLDOUT, **treatment.assignments},
        exp_id=f"{ids},{treatment.exp_id}" if treatment.exp_id else ids,
        buckets=buckets,
    )


@dataclass(frozen=True)
class Checked:
    """Everything wrong or doubtful of a plan, errors first; without errors, its snapshot."""

    findings: tuple[Finding, ...]
    snapshot: Snapshot | None

    def as_version(self, version: int) -> Snapshot:
        """The snapshot as a version; raises PlanInvalid with every finding when there is none."""
        if self.snapshot is None:
            raise PlanInvalid(list(self.findings))
        return replace(self.snapshot, version=version, serial=next(_SERIALS))


def check_plan(plan: Plan, version: int, models: Models) -> Checked:
    """Compile every treatment, run it dry on the golden rows, and assign once."""
    findings = agree(plan)
    plan = served(plan)
    compiler = Compiler(plan, models)
    treatments = {} if errors(findings) else compiler.compile_all()
    findings += compiler.findings
    if not errors(findings):
        findings += compiler.doubts()
    found = tuple(sorted(findings, key=lambda f: f.severity != "error"))
    if errors(found):
        return Checked(found, None)
    return Checked(found, _snapshot(plan, version, treatments))


def compile_snapshot(plan: Plan, version: int, models: Models) -> Snapshot:
    """The snapshot of a plan.

    Raises:
        PlanInvalid: with every finding, when one of them is an error.
    """
    return check_plan(plan, version, models).as_version(version)


def _snapshot(plan: Plan, version: int, treatments: Mapping[Choice, Treatment]) -> Snapshot:
    layers = tuple(map(layer_slots, plan.layers))
    by_name = {layer.name: layer for layer in layers}
    forced = {
        user: {name: by_name[name].arms.get(arm) for name, arm in entries.items()}
        for user, entries in plan.force.items()
    }
    snapshot = Snapshot(
        scene=plan.scene,
        version=version,
        plan=plan,
        deadline_ms=plan.deadline_ms,
        models=frozenset(
            one.model
            for t in treatments.values()
            for one in (t, *t.lighter, t.shadow)
            if one is not None
        ),
        ladder=plan.ladder,
        layers=layers,
        treatments=treatments,
        forced=forced,
    )
    snapshot.assign("1", "1", {})
    return snapshot
