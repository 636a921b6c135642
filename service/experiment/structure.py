"""From one form of a formula to the other, and back: text is written out, structure is recognised.

A text has a structured form when that form, written out, is the same text: same trees, same params.
So nothing is lost in either direction, and a text that says more stays text.
"""

import itertools
from collections.abc import Iterator

from service.experiment.document import Factor, FormulaSpec, Param, Term, Videolen
from service.experiment.forms import CURVES, LENGTH, LENGTH_CURVE, weight_name, write_out
from service.fusion.errors import FormulaError
from service.fusion.parser import parse
from service.fusion.tree import UNARY_MINUS, Call, Name, Node, Number, fold

_Linear = tuple[float, float, str | None]  # bias + scale * head; no head: a number
_NOTHING: _Linear = (0.0, 0.0, None)


def textual(spec: FormulaSpec) -> FormulaSpec:
    """The text form of any formula."""
    text = write_out(spec)
    return FormulaSpec(score=text.score, let=text.let, params=text.params)


def structured(spec: FormulaSpec) -> FormulaSpec | None:
    """The structured form of a text; None where there is none. A structured form is its own."""
    if spec.score is None:
        return spec
    try:
        core, videolen = _split(parse(spec.score), spec)
        for form in filter(None, (_multiplicative(core, spec), _additive(core, spec))):
            found = _with(form, videolen, spec)
            if _same(textual(found), spec):
                return found
    except FormulaError:
        pass
    return None


def _split(tree: Node, spec: FormulaSpec) -> tuple[Node, Videolen | None]:
    """What is left of `* f(videolen_s)` at the end, and what that says."""
    match tree:
        case Call(function="*" | "/" as sign, operands=(core, Call(operands=(Name(name=name),)))):
            if name == LENGTH and LENGTH_CURVE in spec.let:
                for curve in _curves(parse(spec.let[LENGTH_CURVE])):
                    return core, Videolen.model_validate({**curve, "combine": sign})
    return tree, None


def _curves(body: Node) -> Iterator[dict[str, object]]:
    for function, template in CURVES.items():
        wanted = parse(template.format(s="scale_s"))
        scale = _bound(wanted, body)
        if scale is not None:
            yield {"fn": function, "scale_s": scale}


def _bound(template: Node, tree: Node) -> float | None:
    """The number that stands for `scale_s` where a tree is otherwise the template."""
    numbers = [node.value for node in _nodes(tree) if isinstance(node, Number)]
    for value in dict.fromkeys(numbers):
        if value > 0 and _filled(template, value) == tree:
            return value
    return None


def _filled(template: Node, value: float) -> Node:
    def visit(node: Node, operands: list[Node]) -> Node:
        if isinstance(node, Name) and node.name == "scale_s":
            return Number(value)
        return Call(node.function, tuple(operands)) if isinstance(node, Call) else node

    return fold(template, visit)


def _nodes(tree: Node) -> Iterator[Node]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.arguments)


def _chain(tree: Node, sign: str) -> list[Node]:
    """The operands of a left-associative chain, in order."""
    found = []
    while isinstance(tree, Call) and tree.function == sign:
        tree, last = tree.operands
        found.append(last)
    return [tree, *reversed(found)]


def _multiplicative(core: Node, spec: FormulaSpec) -> FormulaSpec | None:
    factors: dict[str, Factor] = {}
    for factor in _chain(core, "*"):
        if not (isinstance(factor, Call) and factor.function == "^"):
            return None
        base, weight = factor.operands
        bias, scale, head = _linear(base) or _NOTHING
        param = None if head is None else _weight(weight, head, spec)
        if head is None or param is None or head in factors:
            return None
        factors[head] = Factor(
            weight=param.value, min=param.min, max=param.max, bias=bias, scale=scale
        )
    return FormulaSpec(multiplicative=factors)


def _additive(core: Node, spec: FormulaSpec) -> FormulaSpec | None:
    terms = {}
    for term in _chain(core, "+"):
        match term:
            case Call(function="*", operands=(weight, Name(name=head))) if head not in terms:
                param = _weight(weight, head, spec)
                if param is None:
                    return None
                terms[head] = Term(weight=param.value, min=param.min, max=param.max)
            case _:
                return None
    return FormulaSpec(additive=terms)


def _weight(node: Node, head: str, spec: FormulaSpec) -> Param | None:
    is_weight = isinstance(node, Name) and node.name == weight_name(head)
    return spec.params.get(weight_name(head)) if is_weight else None


def _linear(tree: Node) -> _Linear | None:
    """Bias, scale and head of what the multiplicative form writes as a base."""
    match tree:
        case Number(value=value):
            return value, 0.0, None
        case Name(name=head):
            return 0.0, 1.0, head
        case Call(function=sign, operands=(one,)) if sign == UNARY_MINUS:
            inner = _linear(one)
            return None if inner is None else (-inner[0], -inner[1], inner[2])
        case Call(function="*", operands=(left, Name(name=head))):
            scale = _linear(left)
            return None if scale is None or scale[2] is not None else (0.0, scale[0], head)
        case Call(function="+" | "-" as sign, operands=(left, right)):
            bias, slope = _linear(left), _linear(right)
            if bias is None or slope is None or bias[2] is not None or slope[0] != 0:
                return None
            return bias[0], slope[1] if sign == "+" else -slope[1], slope[2]
    return None


def _with(form: FormulaSpec, videolen: Videolen | None, spec: FormulaSpec) -> FormulaSpec:
    """The form with everything else that the text's formula has."""
    weights = {
        weight_name(h) for h in itertools.chain(form.multiplicative or (), form.additive or ())
    }
    curve = {LENGTH_CURVE} if videolen is not None else set()
    return form.model_copy(
        update={
            "videolen": videolen,
            "let": {key: text for key, text in spec.let.items() if key not in curve},
            "params": {name: p for name, p in spec.params.items() if name not in weights},
        }
    )


def _same(one: FormulaSpec, other: FormulaSpec) -> bool:
    """Whether two texts are the same formula: order of lets and params apart."""
    return (
        parse(one.score or "") == parse(other.score or "")
        and one.params == other.params
        and {key: parse(text) for key, text in one.let.items()}
        == {key: parse(text) for key, text in other.let.items()}
    )
