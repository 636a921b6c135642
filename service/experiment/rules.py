"""What the parts of a plan must agree on: names, bounds, bucket ranges, shares, keys set twice.

Needs the document alone; what needs models (heads, golden rows) is in `treatments`.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from service.contract.errors import UnknownModel
from service.contract.repository import ModelRef
from service.experiment.document import Arm, Layer, Param, Plan
from service.experiment.findings import Finding, did_you_mean, pointer
from service.experiment.forms import terms, weight_name, write_out
from service.experiment.reranking import disagreements
from service.experiment.traffic_rules import traffic
from service.experiment.walk import (
    Path,
    arm_id,
    arms,
    declared_params,
    ladder_models,
    let_name,
    shadow_models,
)

RESERVE_MS = 3.0  # what scoring keeps of every deadline to write and send the answer

_FORMS = ("score", "multiplicative", "additive")


def agree(plan: Plan) -> list[Finding]:
    """Everything in the plan that does not fit together, errors and warnings, in document order."""
    return [finding for rule in _RULES for finding in rule(plan)]


def _error(path: Path, message: str) -> Finding:
    return Finding("error", pointer(*path), message)


def _warning(path: Path, message: str) -> Finding:
    return Finding("warning", pointer(*path), message)


def _forms(plan: Plan) -> Iterator[Finding]:
    for name, spec in plan.formulas.items():
        path: Path = ("formulas", name)
        given = [form for form in _FORMS if getattr(spec, form) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            yield _error(path, f"give exactly one of {', '.join(_FORMS)}; this formula has {found}")
        elif spec.videolen is not None and spec.score is not None:
            yield _error((*path, "videolen"), "videolen belongs to multiplicative and additive")
        for head in terms(spec):
            if weight_name(head) in spec.params:
                yield _error(
                    (*path, "params", weight_name(head)),
                    f"{weight_name(head)!r} is the weight of {head!r} already: change it there",
                )


def _deadline(plan: Plan) -> Iterator[Finding]:
    if plan.deadline_ms <= RESERVE_MS:
        yield _error(
            ("deadline_ms",),
            f"deadline_ms is {plan.deadline_ms:g}, of which {RESERVE_MS:g} ms are kept for writing"
            " the answer: nothing would ever be ranked; give it more",
        )


def _params(plan: Plan) -> Iterator[Finding]:
    first: dict[str, tuple[str, Param]] = {}
    for name, path, param in declared_params(plan):
        if param.min > param.max:
            yield _error(path, f"param {name!r} has min {param.min:g} above max {param.max:g}")
        elif not param.min <= param.value <= param.max:
            yield _error(path, _out_of_bounds(name, param.value, param))
        formula, other = first.setdefault(name, (str(path[1]), param))
        if (other.min, other.max) != (param.min, param.max):
            yield _error(
                path,
                f"param {name!r} has bounds {_bounds(param)} here and {_bounds(other)} in formula"
                f" {formula!r}: the same name means the same bounds everywhere in the plan",
            )


def _names(plan: Plan) -> Iterator[Finding]:
    params = {name for name, _, _ in declared_params(plan)}
    for name, spec in plan.formulas.items():
        yield from _lets(("formulas", name, "let"), spec.let, params)
    for path, _, _, arm in arms(plan):
        yield from _lets((*path, "set", "let"), arm.set.let, params)


def _lets(path: Path, let: dict[str, str], params: set[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    for key in let:
        name = let_name(key)
        if name in params:
            yield _error(
                (*path, key), f"{name!r} is a let and a param; give one of them another name"
            )
        if name in seen:
            yield _error((*path, key), f"{name!r} is defined twice")
        seen.add(name)


def _models(plan: Plan) -> Iterator[Finding]:
    refs: list[tuple[Path, str]] = [(("model",), plan.model)]
    refs += [((*p, "set", "model"), a.set.model) for p, _, _, a in arms(plan) if a.set.model]
    refs += [*ladder_models(plan), *shadow_models(plan)]
    for path, ref in refs:
        try:
            ModelRef.parse(ref)
        except UnknownModel as err:
            yield _error(path, str(err))


def _formula_names(plan: Plan) -> Iterator[Finding]:
    used: list[tuple[Path, str]] = [(("default", "formula"), plan.default.formula)]
    used += [((*p, "set", "formula"), a.set.formula) for p, _, _, a in arms(plan) if a.set.formula]
    if plan.freeze is not None:
        used.append((("freeze", "formula"), plan.freeze.formula))
    if plan.shadow is not None and plan.shadow.formula is not None:
        used.append((("shadow", "formula"), plan.shadow.formula))
    for path, name in used:
        if name not in plan.formulas:
            yield _error(path, f"there is no formula {name!r}{did_you_mean(name, plan.formulas)}")


def _layers(plan: Plan) -> Iterator[Finding]:
    yield from _twice(("layers",), [x.name for x in plan.layers], "layer")
    salts: dict[tuple[str, str], str] = {}
    for i, layer in enumerate(plan.layers):
        path: Path = ("layers", i)
        other = salts.setdefault((layer.unit, layer.salt), layer.name)
        if other != layer.name:
            yield _warning(
                (*path, "salt"),
                f"layers {other!r} and {layer.name!r} have the same salt and unit, so their"
                " experiments are not independent",
            )
        path = (*path, "experiments")
        yield from _twice(path, [e.name for e in layer.experiments], "experiment")
        for j, experiment in enumerate(layer.experiments):
            yield from _twice((*path, j, "arms"), [a.name for a in experiment.arms], "arm")
        yield from _ranges(path, layer)


def _ranges(path: Path, layer: Layer) -> Iterator[Finding]:
    ranges = []
    for j, experiment in enumerate(layer.experiments):
        for r, (first, last) in enumerate(experiment.buckets):
            place = (*path, j, "buckets", r)
            if first > last:
                yield _error(place, f"bucket range [{first}, {last}] ends before it starts")
            else:
                ranges.append((first, last, experiment.name, place))
    ranges.sort()
    reach = ranges[:1]  # the range, among those before, that goes furthest
    for start, end, other, place in ranges[1:]:
        first, last, name, _ = reach[0]
        if start <= last:
            yield _error(
                place,
                f"buckets [{start}, {end}] of {other!r} overlap [{first}, {last}] of {name!r}"
                f" in layer {layer.name!r}",
            )
        if end > last:
            reach = [(start, end, other, place)]


def _settings(plan: Plan) -> Iterator[Finding]:
    bounds = {name: param for name, _, param in declared_params(plan)}
    texts = {name: write_out(spec) for name, spec in plan.formulas.items()}
    for path, layer, _, arm in arms(plan):
        formulas = _effective_formulas(plan, layer, arm)
        for name, value in arm.set.params.items():
            place = (*path, "set", "params", name)
            if name in bounds and not bounds[name].min <= value <= bounds[name].max:
                yield _error(place, _out_of_bounds(name, value, bounds[name]))
            hint = "" if name in bounds else did_you_mean(name, bounds)
            for formula in formulas:
                if formula in texts and name not in texts[formula].params:
                    yield _warning(place, _idle(formula, "param", name) + hint)
        for key in arm.set.let:
            for formula in formulas:
                if formula in texts and let_name(key) not in map(let_name, texts[formula].let):
                    yield _warning((*path, "set", "let", key), _idle(formula, "let", key))


def _idle(formula: str, what: str, name: str) -> str:
    return f"formula {formula!r} has no {what} {name!r}, so this changes nothing"


def _effective_formulas(plan: Plan, layer: Layer, arm: Arm) -> list[str]:
    """Formulas a user of this arm can get: its own, or the default and what other layers set."""
    if arm.set.formula is not None:
        return [arm.set.formula]
    others = [a.set.formula for _, lay, _, a in arms(plan) if lay is not layer and a.set.formula]
    return list(dict.fromkeys([plan.default.formula, *others]))


def _same_key(plan: Plan) -> Iterator[Finding]:
    setters: dict[tuple[str, ...], str] = {}
    for path, layer, _, arm in arms(plan):
        keys: list[tuple[str, ...]] = [("params", name) for name in arm.set.params]
        keys += [("params", name) for name in arm.set.perturb]
        keys += [("let", key) for key in arm.set.let]
        keys += [(k,) for k in ("formula", "model", "rerank") if getattr(arm.set, k) is not None]
        for key in keys:
            same = ("let", let_name(key[1])) if key[0] == "let" else key
            other = setters.setdefault(same, layer.name)
            if other != layer.name:
                yield _error(
                    (*path, "set", *key),
                    f"layer {layer.name!r} sets {' '.join(key)}, which layer {other!r} sets too:"
                    " a user in both would have two values",
                )


def _force(plan: Plan) -> Iterator[Finding]:
    known = {
        layer.name: {arm_id(e, a) for e in layer.experiments for a in e.arms}
        for layer in plan.layers
    }
    for user, entries in plan.force.items():
        for layer, arm in entries.items():
            place: Path = ("force", user, layer)
            if layer not in known:
                yield _error(place, f"there is no layer {layer!r}{did_you_mean(layer, known)}")
            elif arm not in known[layer]:
                hint = did_you_mean(arm, known[layer])
                yield _error(place, f"layer {layer!r} has no arm {arm!r}{hint}")


def _ladder(plan: Plan) -> Iterator[Finding]:
    for i, step in enumerate(plan.ladder):
        place: Path = ("ladder", i)
        if step.step == "model" and step.model is None:
            yield _error(place, "a model step names its model, as name@alias or name/version")
        for key, owner in (("model", "model"), ("least", "fewer")):
            if key in step.model_fields_set and step.step != owner:
                yield _error((*place, key), f"{key!r} belongs to the step {owner!r}")
        if step.step == "input_order" and i < len(plan.ladder) - 1:
            yield _error(place, "input_order is the last step: it always fits")
    cuts = [i for i, step in enumerate(plan.ladder) if step.step == "fewer"]
    if len(cuts) > 1:
        yield _error(("ladder", cuts[1]), "fewer is named twice; it holds for every step after it")


def _rerank(plan: Plan) -> Iterator[Finding]:
    if plan.rerank is not None:
        yield from disagreements(plan.rerank, ("rerank",))
    for path, _, _, arm in arms(plan):
        if arm.set.rerank is not None:
            yield from disagreements(arm.set.rerank, (*path, "set", "rerank"))


def _twice(path: Path, names: list[str], what: str) -> Iterator[Finding]:
    for name, count in Counter(names).items():
        if count > 1:
            yield _error(path, f"{what} {name!r} is named {count} times")


def _bounds(param: Param) -> str:
    return f"[{param.min:g}, {param.max:g}]"


def _out_of_bounds(name: str, value: float, param: Param) -> str:
    return f"param {name!r} is {value:g}, outside its bounds {_bounds(param)}"


_RULES: tuple[Callable[[Plan], Iterator[Finding]], ...] = (
    _deadline,
    _forms,
    _params,
    _names,
    _models,
    _formula_names,
    _layers,
    traffic,
    _settings,
    _same_key,
    _force,
    _ladder,
    _rerank,
)
