"""What must agree about who is in an experiment: arms, ramps, conditions, time slices, holdout."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from math import exp

from service.contract.features import FeatureSchema
from service.experiment.document import Arm, Experiment, Holdout, Layer, Plan, read_instant
from service.experiment.findings import Finding, did_you_mean, pointer
from service.experiment.gate import whole_buckets
from service.experiment.walk import Path, declared_params
from service.fusion import FormulaError, compile_condition

HOLDOUT = "holdout"
_NEARLY = 0.8  # of difflib, with the side in front: context.tb and context.tab
MOST_PERTURBED = 6  # params of an arm: each one doubles its treatments


def traffic(plan: Plan) -> Iterator[Finding]:
    """Findings on layers and experiments beyond their bucket ranges."""
    if plan.holdout is not None:
        yield from _holdout(plan, plan.holdout)
    for i, layer in enumerate(plan.layers):
        yield from _slices(("layers", i), layer)
        for j, experiment in enumerate(layer.experiments):
            path: Path = ("layers", i, "experiments", j)
            for rule in _OF_EXPERIMENT:
                yield from rule(path, experiment)
            for k, arm in enumerate(experiment.arms):
                yield from _perturbed((*path, "arms", k, "set"), plan, arm)


def _error(path: Path, message: str) -> Finding:
    return Finding("error", pointer(*path), message)


def _holdout(plan: Plan, holdout: Holdout) -> Iterator[Finding]:
    for i, layer in enumerate(plan.layers):
        if layer.name == HOLDOUT:
            message = "a plan with a holdout cannot have a layer of that name: replies show both"
            yield _error(("layers", i, "name"), message)
        if (layer.salt, layer.unit) == (holdout.salt, holdout.unit):
            message = f"the holdout has the salt of layer {layer.name!r}: it holds out its buckets"
            yield Finding("warning", pointer(HOLDOUT, "salt"), message)
    for r, (first, last) in enumerate(holdout.buckets):
        if first > last:
            message = f"bucket range [{first}, {last}] ends before it starts"
            yield _error((HOLDOUT, "buckets", r), message)


def _slices(path: Path, layer: Layer) -> Iterator[Finding]:
    if layer.unit == "time" and layer.slice_s is None:
        yield _error((*path, "unit"), 'the unit "time" needs slice_s, the length of a slice')


def _split(path: Path, experiment: Experiment) -> Iterator[Finding]:
    given = experiment.arms
    for k, arm in enumerate(given):
        if (arm.share is None) == (arm.slots is None):
            both = "both" if arm.share is not None else "neither"
            yield _error(
                (*path, "arms", k), f"arm {arm.name!r} has {both}: give share or slots, one of them"
            )
        elif (arm.share is None) != (given[0].share is None):
            yield _error(
                (*path, "arms", k),
                f"arms {given[0].name!r} and {arm.name!r}: give every arm a share, or every arm"
                " slots",
            )
    if all(arm.share is not None for arm in given) and sum(a.share or 0 for a in given) <= 0:
        yield _error((*path, "arms"), f"the shares of {experiment.name!r} add up to 0")
    yield from _slots(path, experiment)


def _slots(path: Path, experiment: Experiment) -> Iterator[Finding]:
    ranges = [
        (first, last, arm.name, (*path, "arms", k, "slots", r))
        for k, arm in enumerate(experiment.arms)
        for r, (first, last) in enumerate(arm.slots or ())
    ]
    end, owner = -1, ""
    for first, last, name, place in sorted(ranges):
        if first > last:
            yield _error(place, f"slot range [{first}, {last}] ends before it starts")
        elif first <= end:
            yield _error(place, f"slots [{first}, {last}] of {name!r} overlap those of {owner!r}")
        if last > end:
            end, owner = last, name


def _ramp(path: Path, experiment: Experiment) -> Iterator[Finding]:
    reserved = sum(last + 1 - first for first, last in experiment.buckets)
    before = None
    for r, step in enumerate(experiment.ramp):
        place: Path = (*path, "ramp", r)
        size = whole_buckets(step)
        if size is None:
            yield _error(
                (*place, "percent"),
                f"{step.percent:g} % is no whole number of buckets: a bucket is 0.01 %",
            )
        elif size > reserved:
            yield _error(
                (*place, "percent"),
                f"{step.percent:g} % is more than the {reserved / 100:g} % that the buckets of"
                f" {experiment.name!r} reserve",
            )
        if before is not None:
            if read_instant(step.at) <= read_instant(before.at):
                yield _error((*place, "at"), f"{step.at} is not after {before.at}, the step before")
            if step.percent < before.percent:
                yield _error(
                    (*place, "percent"),
                    f"a ramp only grows: {step.percent:g} % after {before.percent:g} % would move"
                    " users out; to end an experiment, publish the plan without it",
                )
        before = step


def _when(path: Path, experiment: Experiment) -> Iterator[Finding]:
    if experiment.when is None:
        return
    try:
        condition = compile_condition(experiment.when)
    except FormulaError as err:
        yield Finding(
            "error", pointer(*path, "when"), err.message, err.line, err.column, err.excerpt
        )
        return
    if not condition.scalars:
        answer = "everybody" if condition(()) else "nobody"
        message = f"this condition reads no value: {answer} meets it"
        yield Finding("warning", pointer(*path, "when"), message)


def misspelt_conditions(plan: Plan, schemas: Iterable[FeatureSchema]) -> Iterator[Finding]:
    """Values that conditions read, no model does, and whose names are nearly those of a model's.

    Only those: a context may carry what is there for experiments alone.
    """
    known = {f"{f.side}.{f.name}" for schema in schemas for f in schema}
    for i, layer in enumerate(plan.layers):
        for j, experiment in enumerate(layer.experiments):
            if experiment.when is None:
                continue
            for name in compile_condition(experiment.when).scalars:
                near = difflib.get_close_matches(name, known - {name}, n=1, cutoff=_NEARLY)
                if name not in known and near:
                    yield Finding(
                        "warning",
                        pointer("layers", i, "experiments", j, "when"),
                        f"no model reads {name}; did you mean {near[0]!r}?",
                    )


def _perturbed(path: Path, plan: Plan, arm: Arm) -> Iterator[Finding]:
    if len(arm.set.perturb) > MOST_PERTURBED:
        count = len(arm.set.perturb)
        yield _error(
            (*path, "perturb"),
            f"{count} params are perturbed, at most {MOST_PERTURBED}: each doubles the treatments",
        )
    declared = list(declared_params(plan))
    for name, sigma in arm.set.perturb.items():
        place: Path = (*path, "perturb", name)
        of_name = [param for other, _, param in declared if other == name]
        if not of_name:
            known = {other for other, _, _ in declared}
            hint = did_you_mean(name, known)
            yield Finding("warning", pointer(*place), f"no formula has the param {name!r}{hint}")
        for param in of_name:
            value = arm.set.params.get(name, param.value)
            ends = sorted((value * exp(-sigma), value * exp(sigma)))
            if value == 0:
                message = f"param {name!r} is 0, so times exp(±{sigma:g}) changes nothing"
                yield Finding("warning", pointer(*place), message)
            elif ends[0] < param.min or ends[1] > param.max:
                yield _error(
                    place,
                    f"param {name!r} would be {ends[0]:g} or {ends[1]:g}, outside its bounds"
                    f" [{param.min:g}, {param.max:g}]",
                )


_OF_EXPERIMENT: tuple[Callable[[Path, Experiment], Iterator[Finding]], ...] = (_split, _ramp, _when)
