"""A plan ready to serve: immutable, compiled, checked; read with no lock and no network."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from service.experiment.assignment import LayerSlots, layer_slots, unit_of
from service.experiment.document import Plan, Step
from service.experiment.effects import Choice
from service.experiment.errors import PlanInvalid
from service.experiment.findings import Finding, errors
from service.experiment.rules import agree
from service.experiment.treatments import Compiler, Models, Treatment

_CONTEXT = "context."


@dataclass(frozen=True)
class Snapshot:
    """A version of a scene's plan with its treatments. `models`: every "name/version" of theirs."""

    scene: str
    version: int
    plan: Plan = field(repr=False)
    deadline_ms: float
    models: frozenset[str]
    ladder: tuple[Step, ...]
    layers: tuple[LayerSlots, ...] = field(repr=False)
    # choice of each layer -> treatment
    treatments: Mapping[Choice, Treatment] = field(repr=False)
    # user id -> choice of each layer, None: by hash
    forced: Mapping[str, tuple[int | None, ...]] = field(repr=False)

    @cached_property
    def context_units(self) -> frozenset[str]:
        """Context names by which a layer draws its buckets."""
        units = {layer.unit for layer in self.layers}
        return frozenset(u.removeprefix(_CONTEXT) for u in units if u.startswith(_CONTEXT))

    def assign(
        self, user_id: str | None, request_id: str | None, context: Mapping[str, Any]
    ) -> Treatment:
        """The treatment of a request: one hash a layer (two where an experiment is), one lookup."""
        forced = self.forced.get(user_id, ()) if user_id else ()
        buckets: dict[str, int] = {}
        choices = []
        for place, layer in enumerate(self.layers):
            unit = unit_of(layer.unit, user_id, request_id, context)
            choice = 0
            if unit is not None:
                buckets[layer.name], choice = layer.choose(unit)
            if forced and (by_force := forced[place]) is not None:
                choice = by_force
            choices.append(choice)
        found = self.treatments[tuple(choices)]
        return Treatment(*found[:-1], buckets) if buckets else found


@dataclass(frozen=True)
class Checked:
    """Everything wrong or doubtful of a plan, errors first; without errors, its snapshot."""

    findings: tuple[Finding, ...]
    snapshot: Snapshot | None

    def as_version(self, version: int) -> Snapshot:
        """The snapshot as a version; raises PlanInvalid with every finding when there is none."""
        if self.snapshot is None:
            raise PlanInvalid(list(self.findings))
        return replace(self.snapshot, version=version)


def check_plan(plan: Plan, version: int, models: Models) -> Checked:
    """Compile every treatment, run it dry on the golden rows, and assign once."""
    findings = agree(plan)
    compiler = Compiler(plan, models)
    treatments = {} if errors(findings) else compiler.compile_all()
    found = tuple(sorted(findings + compiler.findings, key=lambda f: f.severity != "error"))
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
    forced = {
        user: tuple(
            layer.choices[entries[layer.name]] if layer.name in entries else None
            for layer in layers
        )
        for user, entries in plan.force.items()
    }
    snapshot = Snapshot(
        scene=plan.scene,
        version=version,
        plan=plan,
        deadline_ms=plan.deadline_ms,
        models=frozenset(
            one.model for t in treatments.values() for one in (t, *t.lighter) if one is not None
        ),
        ladder=plan.ladder,
        layers=layers,
        treatments=treatments,
        forced=forced,
    )
    snapshot.assign("1", "1", {})
    return snapshot
