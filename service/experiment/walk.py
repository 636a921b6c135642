"""Go through a plan document: its arms, params and model references, each with its path."""

from collections.abc import Iterator

from service.contract.repository import ModelRef
from service.experiment.document import Arm, Experiment, Layer, Param, Plan
from service.experiment.forms import terms, weight_name

Path = tuple[str | int, ...]  # keys and indexes from the root; `findings.pointer` writes it


def arms(plan: Plan) -> Iterator[tuple[Path, Layer, Experiment, Arm]]:
    """Every arm, in document order."""
    for i, layer in enumerate(plan.layers):
        for j, experiment in enumerate(layer.experiments):
            for k, arm in enumerate(experiment.arms):
                path = ("layers", i, "experiments", j, "arms", k)
                yield path, layer, experiment, arm


def arm_id(experiment: Experiment, arm: Arm) -> str:
    return f"{experiment.name}/{arm.name}"


def variants(arm: Arm) -> int:
    """How many treatments an arm has: two for each perturbed param, up and down."""
    return 1 << len(arm.applied.perturb)


def let_name(key: str) -> str:
    """The name a let key defines: "f" for "f(x)"."""
    return key.partition("(")[0]


def declared_params(plan: Plan) -> Iterator[tuple[str, Path, Param]]:
    """Every param of every formula, the weights of structured forms included."""
    for formula, spec in plan.formulas.items():
        form = "multiplicative" if spec.multiplicative is not None else "additive"
        for head, term in terms(spec).items():
            param = Param(value=term.weight, min=term.min, max=term.max)
            yield weight_name(head), ("formulas", formula, form, head), param
        for name, param in spec.params.items():
            yield name, ("formulas", formula, "params", name), param


def ladder_models(plan: Plan) -> Iterator[tuple[Path, str]]:
    """The model of each `model` step, in order; the steps must be well formed."""
    for i, step in enumerate(plan.ladder):
        if step.model is not None:
            yield ("ladder", i, "model"), step.model


def shadow_models(plan: Plan) -> Iterator[tuple[Path, str]]:
    """The model in shadow, if there is one."""
    if plan.shadow is not None and plan.shadow.model is not None:
        yield ("shadow", "model"), plan.shadow.model


def model_refs(plan: Plan) -> list[ModelRef]:
    """Every model that the plan can reach, once; the references must be well formed."""
    texts = [plan.model]
    if plan.freeze is None:
        texts += [a.applied.model for _, _, _, a in arms(plan) if a.applied.model]
    texts += [text for _, text in ladder_models(plan)]
    texts += [text for _, text in shadow_models(plan)]
    return [ModelRef.parse(text) for text in dict.fromkeys(texts)]
