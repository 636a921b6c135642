"""Every treatment a plan can give (the default and each combination of arms), compiled and run dry.

A treatment is a formula with its own functions and numbers, and a model. Two layers never set the same key,
so the combinations are the product of the layers' arms; equal formulas are compiled once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any, Protocol

from service.contract.errors import ContractError
from service.contract.golden import Golden
from service.contract.manifest import Manifest
from service.contract.repository import ModelRef
from service.experiment.document import Plan
from service.experiment.dry_run import first_invalid_row
from service.experiment.findings import Finding, did_you_mean, pointer
from service.experiment.forms import LENGTH, FormulaText, terms, write_out
from service.experiment.rules import Path, arm_id, arms, let_name
from service.experiment.scalars import read_scalars, scalar_defaults
from service.fusion import Formula, FormulaError, compile_formula

MAX_TREATMENTS = 4096


class Models(Protocol):
    """Packages by reference, under one fixed resolution of the aliases."""

    def manifest(self, ref: ModelRef) -> Manifest: ...

    def golden(self, ref: ModelRef) -> Golden: ...


@dataclass(frozen=True, slots=True)
class Treatment:
    """What one request gets. `assignments`: layer -> "experiment/arm", in plan order.

    `buckets`: layer -> 0 … 9999, for the layers whose unit the request has. `scalar_defaults`: the
    request-wide numbers the formula uses and their values when absent.
    """

    formula_name: str
    formula: Formula
    model: str  # "name/version"
    params: Mapping[str, float]
    scalar_defaults: Mapping[str, float]
    assignments: Mapping[str, str]
    exp_id: str
    buckets: Mapping[str, int]

    def scalars(self, user: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, float]:
        """What `formula` takes as scalars, from the raw user and context features of a request."""
        return read_scalars(self.scalar_defaults, user, context)


@dataclass(frozen=True)
class _Effect:
    """The default as changed by a combination of arms; `place` is where the last change stands."""

    formula: str
    model: str
    params: Mapping[str, float]
    let: Mapping[str, tuple[str, Path]]  # name -> (text, where it stands)
    model_place: Path
    place: Path | None
    assignments: Mapping[str, str]

    @property
    def exp_id(self) -> str:
        return ",".join(f"{layer}:{arm}" for layer, arm in self.assignments.items())


@dataclass
class Compiler:
    """Compiles the treatments of one plan against one view of the models, collecting findings."""

    plan: Plan
    models: Models
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._texts = {name: write_out(spec) for name, spec in self.plan.formulas.items()}
        self._manifests: dict[str, Manifest | None] = {}
        self._scalars: dict[str, Mapping[str, float]] = {}
        self._golden: dict[str, Golden] = {}
        self._used: dict[tuple[Any, ...], frozenset[str] | None] = {}
        self._formulas: dict[tuple[Any, ...], Formula | None] = {}

    def compile_all(self) -> dict[tuple[int, ...], Treatment]:
        """Choice of each layer (0: unassigned) -> treatment; what failed is missing, with a finding."""
        for name in self.plan.formulas:
            self._compile(self._effect((), formula=name))
        options = [
            len([a for e in layer.experiments for a in e.arms]) + 1 for layer in self.plan.layers
        ]
        if (count := prod(options)) > MAX_TREATMENTS:
            self._report(
                ("layers",),
                f"the layers' arms combine to {count} treatments, more than {MAX_TREATMENTS}:"
                " use fewer arms or put experiments into the same layer",
            )
            return {}
        by_layer: dict[str, list[tuple[Path, str, Any]]] = {x.name: [] for x in self.plan.layers}
        for path, layer, experiment, arm in arms(self.plan):
            by_layer[layer.name].append((path, arm_id(experiment, arm), arm.set))
        treatments = {}
        for choice in product(*map(range, options)):
            chosen = tuple(
                (layer, *by_layer[layer][n - 1])
                for layer, n in zip(by_layer, choice, strict=True)
                if n
            )
            treatment = self._compile(self._effect(chosen))
            if treatment is not None:
                treatments[choice] = treatment
        return treatments

    def _effect(
        self, chosen: tuple[tuple[str, Path, str, Any], ...], formula: str | None = None
    ) -> _Effect:
        name, model, model_place = formula or self.plan.default.formula, self.plan.model, ("model",)
        place: Path | None = None
        changed: dict[str, float] = {}
        let: dict[str, tuple[str, Path]] = {}
        for _, path, _, change in chosen:
            name = change.formula or name
            if change.model is not None:
                model, model_place = change.model, (*path, "set", "model")
            changed |= change.params
            let |= {key: (text, (*path, "set", "let", key)) for key, text in change.let.items()}
            if change.params or change.let or change.formula or change.model:
                place = (*path, "set")
        text = self._texts[name]
        params = {n: changed.get(n, p.value) for n, p in text.params.items()}
        return _Effect(
            formula=name,
            model=model,
            params=params,
            let=_override(self._own_lets(name, text), let),
            model_place=model_place,
            place=place,
            assignments={layer: arm for layer, _, arm, _ in chosen},
        )

    def _own_lets(self, name: str, text: FormulaText) -> dict[str, tuple[str, Path]]:
        given = self.plan.formulas[name].let
        return {
            key: (body, ("formulas", name, "let", key) if key in given else self._score_place(name))
            for key, body in text.let.items()
        }

    def _compile(self, effect: _Effect) -> Treatment | None:
        manifest = self._manifest(effect)
        if manifest is None:
            return None
        formula = self._formula(effect, manifest)
        if formula is None:
            return None
        defaults = self._scalars[manifest.id]
        return Treatment(
            formula_name=effect.formula,
            formula=formula,
            model=manifest.id,
            params=effect.params,
            scalar_defaults={name: defaults[name] for name in sorted(formula.scalars)},
            assignments=effect.assignments,
            exp_id=effect.exp_id,
            buckets={},
        )

    def _manifest(self, effect: _Effect) -> Manifest | None:
        ref = effect.model
        if ref not in self._manifests:
            self._manifests[ref] = None
            try:
                parsed = ModelRef.parse(ref)
                manifest = self.models.manifest(parsed)
                self._golden[manifest.id] = self.models.golden(parsed)
            except ContractError as err:
                self._report(effect.model_place, str(err))
                return None
            self._manifests[ref] = manifest
            self._scalars[manifest.id] = scalar_defaults(manifest.schema_)
        return self._manifests[ref]

    def _formula(self, effect: _Effect, manifest: Manifest) -> Formula | None:
        """The compiled formula of an effect; equal formulas are compiled and run dry once."""
        lets = tuple((key, text) for key, (text, _) in effect.let.items())
        key = (effect.formula, lets, manifest.id)
        used = self._used.get(key, frozenset(effect.params))
        if used is None:
            return None
        whole = (key, tuple((n, v) for n, v in effect.params.items() if n in used))
        if whole not in self._formulas:
            formula = self._compile_text(effect, manifest)
            if formula is None:
                self._used[key] = None
                return None
            if key not in self._used:
                self._used[key] = formula.params
                whole = (
                    key,
                    tuple((n, v) for n, v in effect.params.items() if n in formula.params),
                )
            self._formulas[whole] = self._run_dry(formula, effect, manifest)
        return self._formulas[whole]

    def _compile_text(self, effect: _Effect, manifest: Manifest) -> Formula | None:
        if self._unknown_heads(effect.formula, manifest) or self._clashes(effect, manifest):
            return None
        try:
            return compile_formula(
                self._texts[effect.formula].score,
                lets={key: text for key, (text, _) in effect.let.items()},
                params=effect.params,
                heads=manifest.head_names,
                attributes=[a.name for a in manifest.schema_.attributes],
                scalars=self._scalars[manifest.id],
            )
        except FormulaError as err:
            self._report(
                self._place_of(err, effect),
                f"{err.message} (formula {effect.formula!r}, model {manifest.id})",
                line=err.line,
                column=err.column,
                caret=err.excerpt,
            )
            return None

    def _place_of(self, err: FormulaError, effect: _Effect) -> Path:
        """Where the text with the error stands: `err.where` is "score" or "let f(x)"."""
        name = let_name(err.where.removeprefix("let "))
        places = {let_name(key): place for key, (_, place) in effect.let.items()}
        known = places.get(name) if err.where.startswith("let ") else None
        return known or self._score_place(effect.formula)

    def _unknown_heads(self, formula: str, manifest: Manifest) -> bool:
        """Names of a structured form that the model lacks; those of a text formula the compiler finds."""
        spec = self.plan.formulas[formula]
        known = {*manifest.head_names, *(a.name for a in manifest.schema_.attributes)}
        form = self._score_place(formula)
        places = {head: (*form, head) for head in terms(spec)}
        if spec.videolen is not None:
            places[LENGTH] = ("formulas", formula, "videolen")
        unknown = [name for name in places if name not in known]
        for name in unknown:
            self._report(
                places[name],
                f"model {manifest.id} has no head or attribute {name!r}{did_you_mean(name, known)}",
            )
        return bool(unknown)

    def _clashes(self, effect: _Effect, manifest: Manifest) -> bool:
        taken = {h: "a head" for h in manifest.head_names}
        taken |= {a.name: "an attribute" for a in manifest.schema_.attributes}
        places: dict[str, tuple[str, Path]] = {
            name: ("param", ("formulas", effect.formula, "params", name)) for name in effect.params
        }
        places |= {let_name(key): ("let", place) for key, (_, place) in effect.let.items()}
        clashes = [name for name in places if name in taken]
        for name in clashes:
            what, place = places[name]
            self._report(
                place,
                f"{name!r} names a {what} and also {taken[name]} of model {manifest.id};"
                f" give the {what} another name",
            )
        return bool(clashes)

    def _run_dry(self, formula: Formula, effect: _Effect, manifest: Manifest) -> Formula | None:
        defaults = {name: self._scalars[manifest.id][name] for name in sorted(formula.scalars)}
        invalid = first_invalid_row(formula, manifest, self._golden[manifest.id], defaults)
        if invalid is None:
            return formula
        numbers = {n: v for n, v in effect.params.items() if n in formula.params}
        given = f" with {', '.join(f'{n} = {v:g}' for n, v in numbers.items())}" if numbers else ""
        who = f" in {effect.exp_id}" if effect.exp_id else ""
        self._report(
            effect.place or self._score_place(effect.formula),
            f"formula {effect.formula!r}{given}{who} gives no finite score on {invalid}"
            f" of model {manifest.id}",
        )
        return None

    def _score_place(self, formula: str) -> Path:
        spec = self.plan.formulas[formula]
        forms = ("score", "multiplicative", "additive")
        return ("formulas", formula, next(f for f in forms if getattr(spec, f) is not None))

    def _report(self, path: Path, message: str, **place: Any) -> None:
        finding = Finding("error", pointer(*path), message, **place)
        if finding not in self.findings:
            self.findings.append(finding)


def _override(
    own: dict[str, tuple[str, Path]], changes: dict[str, tuple[str, Path]]
) -> dict[str, tuple[str, Path]]:
    """Own lets, replaced by name: an arm's "f(z)" takes the place of "f(x)". Others change nothing."""
    by_name = {let_name(key): key for key in changes}
    merged = {}
    for key, entry in own.items():
        changed = by_name.get(let_name(key))
        merged[changed or key] = entry if changed is None else changes[changed]
    return merged
