"""Names of a formula against those of a model: what a form lacks, and what is named twice."""

from collections.abc import Iterator

from service.contract.manifest import Manifest
from service.experiment.document import FormulaSpec
from service.experiment.effects import Effect
from service.experiment.findings import Finding, did_you_mean, pointer
from service.experiment.forms import LENGTH, terms
from service.experiment.walk import Path, let_name


def check_names(effect: Effect, spec: FormulaSpec, manifest: Manifest) -> list[Finding]:
    """Everything wrong with the names; unknown names in a text are the compiler's to find."""
    return [*_unknown(effect, spec, manifest), *_clashing(effect, spec, manifest)]


def _unknown(effect: Effect, spec: FormulaSpec, manifest: Manifest) -> Iterator[Finding]:
    known = {*manifest.head_names, *(a.name for a in manifest.schema_.attributes)}
    places: dict[str, Path] = {head: (*effect.score_at, head) for head in terms(spec)}
    if spec.videolen is not None:
        places[LENGTH] = ("formulas", effect.formula, "videolen")
    for name, place in places.items():
        if name not in known:
            hint = did_you_mean(name, known)
            message = f"model {manifest.id} has no head or attribute {name!r}{hint}"
            yield Finding("error", pointer(*place), message)


def _clashing(effect: Effect, spec: FormulaSpec, manifest: Manifest) -> Iterator[Finding]:
    taken = dict.fromkeys(manifest.head_names, "a head")
    taken |= {a.name: "an attribute" for a in manifest.schema_.attributes}
    places: dict[str, tuple[str, Path]] = {
        name: ("param", ("formulas", effect.formula, "params", name)) for name in spec.params
    }
    places |= {let_name(key): ("let", place) for key, (_, place) in effect.let.items()}
    for name, (what, place) in places.items():
        if name in taken:
            message = (
                f"{name!r} names a {what} and also {taken[name]} of model {manifest.id};"
                f" give the {what} another name"
            )
            yield Finding("error", pointer(*place), message)
