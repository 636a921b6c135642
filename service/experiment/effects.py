"""What each combination of arms makes of the default: formula, numbers, functions, model.

Precedence is default < arm; two layers never set the same key, so their order changes nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import exp, prod

from service.experiment.document import Arm, Plan, Settings
from service.experiment.forms import write_out
from service.experiment.reranking import Rerank
from service.experiment.walk import Path, arm_id, arms, let_name, variants

Choice = tuple[int, ...]  # one number a layer: 0 unassigned, then its arms in document order
Signs = dict[str, int]  # perturbed param -> +1 or -1
_FORMS = ("score", "multiplicative", "additive")
_Let = dict[str, tuple[str, Path]]  # key -> (text, where it stands)


@dataclass(frozen=True)
class Effect:
    """The default as a combination of arms changes it.

    `set_at` is where the last change stands, None for the default; `model_at` where the model does,
    `rerank_at` where the rules after fusion do.
    """

    formula: str
    score: str
    score_at: Path
    let: Mapping[str, tuple[str, Path]]
    params: Mapping[str, float]
    model: str
    model_at: Path
    set_at: Path | None
    assignments: Mapping[str, str]
    signs: Signs = field(default_factory=dict)
    rerank: Rerank | None = None
    rerank_at: Path = ("rerank",)

    @property
    def exp_id(self) -> str:
        """`layer:experiment/arm`, joined by commas; "" when nobody is assigned."""
        return ",".join(f"{layer}:{arm}" for layer, arm in self.assignments.items())


@dataclass(frozen=True)
class _Chosen:
    layer: str
    arm: str
    path: Path
    change: Settings
    signs: Signs


def count_effects(plan: Plan) -> int:
    return prod(_options(plan))


def effects(plan: Plan) -> Iterator[tuple[Choice, Effect]]:
    """Every combination of arms, the default first."""
    by_layer: dict[str, list[_Chosen]] = {layer.name: [] for layer in plan.layers}
    for path, layer, experiment, arm in arms(plan):
        by_layer[layer.name] += [
            _Chosen(layer.name, arm_id(experiment, arm), path, arm.applied, signs)
            for signs in all_signs(arm)
        ]
    for choice in product(*map(range, _options(plan))):
        picked = zip(by_layer.values(), choice, strict=True)
        yield choice, _effect(plan, plan.default.formula, [of[n - 1] for of, n in picked if n])


def own_effects(plan: Plan) -> Iterator[Effect]:
    """Each formula as it stands, whether anybody gets it or not."""
    for formula in plan.formulas:
        yield own_effect(plan, formula)


def own_effect(plan: Plan, formula: str) -> Effect:
    """A formula with its own numbers, for nobody in particular."""
    return _effect(plan, formula, [])


def _options(plan: Plan) -> list[int]:
    return [
        1 + sum(variants(arm) for e in layer.experiments for arm in e.arms) for layer in plan.layers
    ]


def all_signs(arm: Arm) -> list[Signs]:
    """Every combination of signs of an arm, in the order of its choices: all down first."""
    return [
        {name: 1 if number >> place & 1 else -1 for place, name in enumerate(arm.applied.perturb)}
        for number in range(variants(arm))
    ]


def _effect(plan: Plan, formula: str, chosen: list[_Chosen]) -> Effect:
    model = plan.model
    model_at: Path = ("model",)
    rerank, rerank_at = plan.rerank, Effect.rerank_at
    set_at: Path | None = None
    params: dict[str, float] = {}
    factors: dict[str, float] = {}
    let: _Let = {}
    for arm in chosen:
        change, at = arm.change, (*arm.path, "set")
        formula = change.formula or formula
        if change.model is not None:
            model, model_at = change.model, (*at, "model")
        if change.rerank is not None:
            rerank, rerank_at = change.rerank, (*at, "rerank")
        params |= change.params
        factors |= {name: exp(arm.signs[name] * sigma) for name, sigma in change.perturb.items()}
        let |= {key: (text, (*at, "let", key)) for key, text in change.let.items()}
        if change.model_fields_set:
            set_at = at
    spec = plan.formulas[formula]
    text = write_out(spec)
    score_at: Path = ("formulas", formula, next(f for f in _FORMS if getattr(spec, f) is not None))
    own: _Let = {
        key: (body, ("formulas", formula, "let", key) if key in spec.let else score_at)
        for key, body in text.let.items()
    }
    return Effect(
        formula=formula,
        score=text.score,
        score_at=score_at,
        let=_override(own, let),
        params={
            name: params.get(name, param.value) * factors.get(name, 1.0)
            for name, param in text.params.items()
        },
        model=model,
        model_at=model_at,
        set_at=set_at,
        assignments={arm.layer: arm.arm for arm in chosen},
        signs={name: sign for arm in chosen for name, sign in arm.signs.items()},
        rerank=rerank,
        rerank_at=rerank_at,
    )


def _override(own: _Let, changes: _Let) -> _Let:
    """Own lets, replaced by name: an arm's "f(z)" takes the place of "f(x)"; others do nothing."""
    by_name = {let_name(key): key for key in changes}
    merged = {}
    for key, entry in own.items():
        changed = by_name.get(let_name(key))
        merged[changed or key] = entry if changed is None else changes[changed]
    return merged
