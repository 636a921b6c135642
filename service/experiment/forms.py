"""The structured forms of a formula, written out as text of the one formula language.

- `multiplicative`: Π (bias + scale·head)^w. A bare number is the weight of head^w: bias 0, scale 1.
- `additive`: Σ w·head.
- Either may be combined (`*` or `/`) with f(videolen_s), a curve of the length, in units of
  `scale_s` seconds. Where f is 0 (log1p, sqrt, linear, tanh, saturate at length 0), "/" makes the
  candidate invalid.

Weights become params `w_<head>`, so that arms and PATCH change them like any other param.
"""

from dataclasses import dataclass

from service.experiment.document import Factor, FormulaSpec, Param, Term, Videolen

LENGTH = "videolen_s"
LENGTH_CURVE = "f(x)"

CURVES = {
    "linear": "x / {s}",
    "log1p": "log1p(x / {s})",
    "sqrt": "sqrt(x / {s})",
    "sigmoid": "sigmoid(x / {s})",
    "tanh": "tanh(x / {s})",
    "saturate": "saturate(x, {s})",
    "decay": "decay(x, {s})",
}


@dataclass(frozen=True)
class FormulaText:
    """A formula as text: what the language compiles."""

    score: str
    let: dict[str, str]
    params: dict[str, Param]


def write_out(spec: FormulaSpec) -> FormulaText:
    """The text of a formula; a text formula is returned as it stands."""
    if spec.score is not None:
        return FormulaText(spec.score, spec.let, spec.params)
    if spec.multiplicative is not None:
        score = " * ".join(_factor(head, f) for head, f in spec.multiplicative.items())
    else:
        score = " + ".join(f"{weight_name(head)} * {head}" for head in spec.additive or {})
        if spec.videolen is not None:
            score = f"({score})"
    let = dict(spec.let)
    if spec.videolen is not None:
        score = f"{score} {spec.videolen.combine} f({LENGTH})"
        let = {LENGTH_CURVE: _curve(spec.videolen)} | let
    weights = {weight_name(head): _param(term) for head, term in terms(spec).items()}
    return FormulaText(score, let, {**weights, **spec.params})


def terms(spec: FormulaSpec) -> dict[str, Term]:
    """Head -> its term in a structured form, in order; {} for a text formula."""
    return {**(spec.multiplicative or {}), **(spec.additive or {})}


def weight_name(head: str) -> str:
    return f"w_{head}"


def _factor(head: str, factor: Factor) -> str:
    base = head
    if factor.scale != 1:
        base = f"{_number(abs(factor.scale))} * {head}"
    if factor.bias != 0:
        base = f"{_number(factor.bias)} {'-' if factor.scale < 0 else '+'} {base}"
    elif factor.scale < 0:
        base = f"-{base}"
    return f"{base if base == head else f'({base})'}^{weight_name(head)}"


def _curve(videolen: Videolen) -> str:
    return CURVES[videolen.fn].format(s=_number(videolen.scale_s))


def _param(term: Term) -> Param:
    return Param(value=term.weight, min=term.min, max=term.max)


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")
