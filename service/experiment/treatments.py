"""Every treatment a plan can give, the default and each combination of arms: compiled, run dry.

A treatment is a formula with its own functions and numbers, and a model; equal formulas are
compiled once.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, Self

from service.contract.errors import ContractError
from service.contract.golden import Golden
from service.contract.manifest import Manifest
from service.contract.repository import ModelRef
from service.experiment.document import Plan
from service.experiment.doubts import Surveyor
from service.experiment.dry_run import first_invalid_row
from service.experiment.effects import (
    Choice,
    Effect,
    count_effects,
    effects,
    own_effect,
    own_effects,
)
from service.experiment.findings import Finding, pointer
from service.experiment.names import check_names
from service.experiment.reranking import Rerank, unknown_names
from service.experiment.scalars import read_scalars, scalar_defaults
from service.experiment.traffic_rules import misspelt_conditions
from service.experiment.walk import Path, ladder_models, let_name
from service.fusion import Formula, FormulaError, compile_formula

MAX_TREATMENTS = 1024  # each one is compiled before a plan goes live: a second or two of CPU
_LONGEST_PAUSE_S = 0.01

_Key = tuple[Any, ...]  # (formula, lets, model), and the values of its params


class Models(Protocol):
    """Packages by reference, under one fixed resolution of the aliases."""

    def manifest(self, ref: ModelRef) -> Manifest: ...

    def golden(self, ref: ModelRef) -> Golden: ...


class Treatment(NamedTuple):
    """What one request gets; a tuple, because one is made for every request.

    `assignments`: layer -> "experiment/arm", in plan order.

    `buckets`: layer -> 0 … 9999, for the layers whose unit the request has. `scalar_defaults`: the
    request-wide numbers the formula uses and their values when absent. `lighter`: the same with the
    model of each `model` step of the plan's ladder; None where that is this treatment's own.
    `shadow`: what is scored beside it for nobody. `signs`: perturbed param -> +1 or -1, the way
    that `params` has it moved.
    """

    formula_name: str
    formula: Formula
    model: str  # "name/version"
    params: Mapping[str, float]
    scalar_defaults: Mapping[str, float]
    assignments: Mapping[str, str]
    exp_id: str
    lighter: "tuple[Treatment | None, ...]"
    signs: Mapping[str, int]
    shadow: "Treatment | None"
    rerank: Rerank | None
    buckets: Mapping[str, int]

    def scalars(self, user: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, float]:
        """What `formula` takes as scalars, from the raw user and context features of a request."""
        return read_scalars(self.scalar_defaults, user, context)


@dataclass
class Compiler:
    """Compiles the treatments of one plan against one view of the models, collecting findings."""

    plan: Plan
    models: Models
    findings: list[Finding] = field(default_factory=list)
    _packages: dict[str, "_Package | None"] = field(default_factory=dict)
    _used: dict[_Key, frozenset[str]] = field(default_factory=dict)
    _formulas: dict[_Key, Formula | None] = field(default_factory=dict)
    _surveyor: Surveyor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._surveyor = Surveyor(self.plan)

    def compile_all(self) -> dict[Choice, Treatment]:
        """Every treatment by choice; what failed is missing and reported."""
        for effect in own_effects(self.plan):
            self._compile(effect)
        if (count := count_effects(self.plan)) > MAX_TREATMENTS:
            self._report(
                ("layers",),
                f"the layers' arms combine to {count} treatments, more than {MAX_TREATMENTS}:"
                " use fewer arms or put experiments into the same layer",
            )
            return {}
        compiled = {choice: self._compile(effect) for choice, effect in effects(self.plan)}
        return {choice: t for choice, t in compiled.items() if t is not None}

    def doubts(self) -> list[Finding]:
        """Warnings about what was compiled, over the observed ranges of the models."""
        schemas = [p.manifest.schema_ for p in self._packages.values() if p is not None]
        return [*misspelt_conditions(self.plan, schemas), *self._surveyor.findings()]

    def _compile(self, effect: Effect) -> Treatment | None:
        """The treatment of an effect, with the lighter ones its requests may get instead."""
        found = self._treatment(effect)
        if found is None:
            return None
        steps = [
            self._treatment(replace(effect, model=ref, model_at=place))
            for place, ref in ladder_models(self.plan)
        ]
        lighter = tuple(
            None if step is None or step.model == found.model else step for step in steps
        )
        return found._replace(lighter=lighter, shadow=self._shadow(effect))

    def _shadow(self, effect: Effect) -> Treatment | None:
        """What the plan scores beside the treatment of an effect."""
        if (shadow := self.plan.shadow) is None:
            return None
        if shadow.formula is not None:
            own = own_effect(self.plan, shadow.formula)
            effect = replace(own, model=effect.model, model_at=effect.model_at)
        if shadow.model is not None:
            effect = replace(effect, model=shadow.model, model_at=("shadow", "model"))
        return self._treatment(effect)

    def _treatment(self, effect: Effect) -> Treatment | None:
        package = self._package(effect)
        formula = None if package is None else self._formula(effect, package)
        if package is None or formula is None or not self._can_rerank(effect, package):
            return None
        self._surveyor.note(effect, package.id, package.manifest, package.golden)
        return Treatment(
            formula_name=effect.formula,
            formula=formula,
            model=package.id,
            params=effect.params,
            scalar_defaults=package.defaults_of(formula),
            assignments=effect.assignments,
            exp_id=effect.exp_id,
            lighter=(),
            signs=effect.signs,
            shadow=None,
            rerank=effect.rerank if effect.rerank and effect.rerank.has_rules else None,
            buckets={},
        )

    def _can_rerank(self, effect: Effect, package: "_Package") -> bool:
        if effect.rerank is None:
            return True
        wrong = list(unknown_names(effect.rerank, effect.rerank_at, package.manifest))
        self.findings += [finding for finding in wrong if finding not in self.findings]
        return not wrong

    def _package(self, effect: Effect) -> "_Package | None":
        if effect.model not in self._packages:
            try:
                package = _Package.read(self.models, ModelRef.parse(effect.model))
            except ContractError as err:
                self._report(effect.model_at, str(err))
                package = None
            self._packages[effect.model] = package
        return self._packages[effect.model]

    def _formula(self, effect: Effect, package: "_Package") -> Formula | None:
        """The formula of an effect; equal ones are compiled and run dry once.

        Equal: same text, functions and model, and the same values of the params that it uses.
        """
        lets = tuple((key, text) for key, (text, _) in effect.let.items())
        text = (effect.formula, lets, package.id)
        if text in self._used:
            known = (*text, _values(effect, self._used[text]))
            if known in self._formulas:
                return self._formulas[known]
        began = time.perf_counter()
        formula = self._compile_text(effect, package)
        self._used[text] = frozenset() if formula is None else formula.params
        if formula is not None and not self._scores_golden_rows(formula, effect, package):
            formula = None
        # Requests need the interpreter that compiling holds: they get as much of the time.
        time.sleep(min(time.perf_counter() - began, _LONGEST_PAUSE_S))
        self._formulas[*text, _values(effect, self._used[text])] = formula
        return formula

    def _compile_text(self, effect: Effect, package: "_Package") -> Formula | None:
        manifest = package.manifest
        if wrong := check_names(effect, self.plan.formulas[effect.formula], manifest):
            self.findings += [finding for finding in wrong if finding not in self.findings]
            return None
        try:
            return compile_formula(
                effect.score,
                lets={key: text for key, (text, _) in effect.let.items()},
                params=effect.params,
                heads=manifest.head_names,
                attributes=[a.name for a in manifest.schema_.attributes],
                scalars=package.scalar_defaults,
            )
        except FormulaError as err:
            self._report(
                _place_of(err, effect),
                f"{err.message} (formula {effect.formula!r}, model {manifest.id})",
                line=err.line,
                column=err.column,
                caret=err.excerpt,
            )
            return None

    def _scores_golden_rows(self, formula: Formula, effect: Effect, package: "_Package") -> bool:
        defaults = package.defaults_of(formula)
        invalid = first_invalid_row(formula, package.manifest, package.golden, defaults)
        if invalid is None:
            return True
        numbers = [f"{name} = {value:g}" for name, value in _values(effect, formula.params)]
        given = f" with {', '.join(numbers)}" if numbers else ""
        who = f" in {effect.exp_id}" if effect.exp_id else ""
        self._report(
            effect.set_at or effect.score_at,
            f"formula {effect.formula!r}{given}{who} gives no finite score on {invalid}"
            f" of model {package.manifest.id}",
        )
        return False

    def _report(self, path: Path, message: str, **place: Any) -> None:
        finding = Finding("error", pointer(*path), message, **place)
        if finding not in self.findings:
            self.findings.append(finding)


@dataclass(frozen=True)
class _Package:
    """What plans need of a model."""

    id: str  # name/version, of a variant name/version+variant
    manifest: Manifest
    golden: Golden
    scalar_defaults: Mapping[str, float]

    @classmethod
    def read(cls, models: Models, ref: ModelRef) -> Self:
        manifest = models.manifest(ref)
        id_ = str(ref.at(manifest.version))
        return cls(id_, manifest, models.golden(ref), scalar_defaults(manifest.schema_))

    def defaults_of(self, formula: Formula) -> dict[str, float]:
        return {name: self.scalar_defaults[name] for name in sorted(formula.scalars)}


def _values(effect: Effect, names: frozenset[str]) -> tuple[tuple[str, float], ...]:
    return tuple((name, value) for name, value in effect.params.items() if name in names)


def _place_of(err: FormulaError, effect: Effect) -> Path:
    """Where the text with the error stands: `err.where` is "score" or "let f(x)"."""
    kind, _, key = err.where.partition(" ")
    places = {let_name(k): place for k, (_, place) in effect.let.items()}
    return places.get(let_name(key), effect.score_at) if kind == "let" else effect.score_at
