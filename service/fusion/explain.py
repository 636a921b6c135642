"""Why a score is what it is: the terms of its top-level product or sum, which recompose to it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.fusion.program import Scores
from service.fusion.tree import UNARY_MINUS, Call, Node, Number

Mode = Literal["product", "sum", "single"]

RECOMPOSES_WITHIN = 1e-6  # relative: scores may all be tiny


@dataclass(frozen=True)
class Term:
    """One factor or addend.

    Attributes:
        text: as a formula; `1 / x` for a divisor, `-x` for what is subtracted.
        value: what it is for this candidate; None where it is not finite.
        contribution: in a product the log of its size, so that they sum to log(score); in a sum the
            value, so that they sum to the score; None without a score or without its logarithm.
    """

    text: str
    value: float | None
    contribution: float | None


@dataclass(frozen=True)
class Explanation:
    """The terms of one candidate's score; `note` says what they cannot say."""

    mode: Mode
    terms: tuple[Term, ...]
    score: float | None
    note: str = ""


def decompose(tree: Node) -> tuple[Mode, list[Node]]:
    """How the terms combine, and the terms, left to right, each as an expression of its own."""
    core = tree
    while isinstance(core, Call) and core.function == UNARY_MINUS:
        core = core.operands[0]
    if isinstance(core, Call) and core.function in {"+", "-"}:
        return "sum", _addends(tree)
    if isinstance(core, Call) and core.function in {"*", "/", "^"}:
        return "product", _factors(tree)
    return "single", [tree]


def _addends(tree: Node) -> list[Node]:
    addends: list[Node] = []
    waiting = [(tree, False)]
    while waiting:
        node, negative = waiting.pop()
        match node:
            case Call(function="+" | "-" as sign, operands=(left, right)):
                waiting += [(right, negative != (sign == "-")), (left, negative)]
            case Call(function="-x", operands=(operand,)):
                waiting.append((operand, not negative))
            case _:
                addends.append(Call(UNARY_MINUS, (node,)) if negative else node)
    return addends


def _factors(tree: Node) -> list[Node]:
    factors: list[Node] = []
    negative = False
    waiting = [(tree, False)]
    while waiting:
        node, divides = waiting.pop()
        match node:
            case Call(function="*" | "/" as sign, operands=(left, right)):
                waiting += [(right, divides != (sign == "/")), (left, divides)]
            case Call(function="-x", operands=(operand,)):
                negative = not negative
                waiting.append((operand, divides))
            case Number(value=1):
                continue
            case _:
                factors.append(Call("/", (Number(1.0), node)) if divides else node)
    if negative:
        factors.insert(0, Call(UNARY_MINUS, (Number(1.0),)))
    return factors or [Number(1.0)]


def explanations(
    mode: Mode, texts: Sequence[str], values: NDArray[np.float64], scores: Scores, whole: str
) -> list[Explanation]:
    """One explanation a candidate.

    Args:
        mode: how the terms combine.
        texts: (T) the terms.
        values: (T, N) what they are.
        scores: (N) what they should recompose to.
        whole: the text of the score, the one term where rounding stops the others recomposing.
    """
    rows = []
    for row, (score, valid) in enumerate(zip(scores.values.tolist(), scores.valid, strict=True)):
        terms = values[:, row].tolist()
        if not valid:
            rows.append(_invalid(mode, texts, terms))
        elif mode == "single" or not _recompose(mode, terms, score):
            rows.append(Explanation("single", (Term(whole, score, score),), score))
        elif mode == "sum":
            addends = tuple(Term(t, v, v) for t, v in zip(texts, terms, strict=True))
            rows.append(Explanation(mode, addends, score))
        else:
            rows.append(_product(texts, terms, score))
    return rows


def _recompose(mode: Mode, terms: list[float], score: float) -> bool:
    if mode == "product" and score > 0 and 0 not in terms:
        # Near the smallest numbers a product has few digits, and logarithms have them all.
        total = math.fsum(math.log(abs(term)) for term in terms)
        if abs(total - math.log(score)) > RECOMPOSES_WITHIN:
            return False
    total = math.prod(terms) if mode == "product" else math.fsum(terms)
    return math.isclose(total, score, rel_tol=RECOMPOSES_WITHIN)


def _product(texts: Sequence[str], terms: list[float], score: float) -> Explanation:
    positive = score > 0
    note = (
        "" if positive else f"the score {score:g} is not positive: its factors have no log shares"
    )
    factors = tuple(
        Term(text, value, math.log(abs(value)) if positive else None)
        for text, value in zip(texts, terms, strict=True)
    )
    return Explanation("product", factors, score, note)


def _invalid(mode: Mode, texts: Sequence[str], terms: list[float]) -> Explanation:
    listed = tuple(
        Term(text, value if math.isfinite(value) else None, None)
        for text, value in zip(texts, terms, strict=True)
    )
    broken = [term.text for term in listed if term.value is None]
    note = (
        f"invalid: not finite: {', '.join(broken)}" if broken else f"invalid: the {mode} overflows"
    )
    return Explanation(mode, listed, None, note)
