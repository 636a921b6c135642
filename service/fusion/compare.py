"""Why one candidate is above another: the terms that decide, and what would change it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from service.fusion.compiler import Formula
from service.fusion.explain import Explanation, Mode
from service.fusion.flip import Bounds, Flip, smallest_flips
from service.fusion.program import Columns


@dataclass(frozen=True)
class TermGap:
    """One term of both scores.

    Attributes:
        text: as a formula.
        above, below: its values.
        gap: what it adds to the lead of the one above: of logarithms in a product, of values in a
            sum; None where a score has no contributions.
        share: of all that terms add and take back, with its sign: the absolute values add up to 1.
            Not of the lead, which may be next to nothing where large terms cancel.
    """

    text: str
    above: float | None
    below: float | None
    gap: float | None
    share: float | None


@dataclass(frozen=True)
class Comparison:
    """Two candidates. `lead`: log(score above / score below) in a product, else the difference.

    Attributes:
        above, below: their input positions.
        mode: how the gaps add up to the lead.
        lead: None where one of them has no score.
        terms: the largest gap first.
        flips: the smallest change first; see `smallest_flips`.
        note: what cannot be said, and why.
    """

    above: int
    below: int
    mode: Mode
    lead: float | None
    terms: tuple[TermGap, ...]
    flips: tuple[Flip, ...]
    note: str = ""


def compare(
    formula: Formula,
    columns: Columns,
    scalars: Mapping[str, float],
    rows: int,
    pair: tuple[int, int],
    told: tuple[Explanation, Explanation],
    params: Mapping[str, float],
    bounds: Mapping[str, Bounds],
) -> Comparison:
    """Compare two candidates by score, ties by input order.

    Args:
        formula, columns, scalars, rows: as they were scored.
        pair: input positions, in any order.
        told: the explanations of `pair`.
        params: all params of the formula.
        bounds: param -> least and greatest value; params without bounds are not moved.
    """
    (first, second), (a, b) = pair, told
    if _is_below(a.score, b.score, first > second):
        (first, second), (a, b) = (second, first), (b, a)
    if a.score is None or b.score is None:
        which = "neither has a score" if a.score is None else "the one below has no score"
        note = f"{which}: {b.note}"
        return Comparison(first, second, a.mode, None, (), (), note)
    mode, note = a.mode, ""
    lead: float | None = a.score - b.score
    if a.mode != b.mode or len(a.terms) != len(b.terms):
        mode, note = "single", "the two scores do not come apart into the same terms"
        terms: tuple[TermGap, ...] = (TermGap(str(formula), a.score, b.score, lead, 1.0),)
    else:
        terms = _gaps(a, b)
        gaps = [term.gap for term in terms if term.gap is not None]
        if len(gaps) == len(terms):
            lead = math.fsum(gaps)
        else:
            note = "a score that is not positive has no log shares: values only"
    flips = smallest_flips(formula, columns, scalars, rows, (first, second), params, bounds)
    return Comparison(first, second, mode, lead, terms, tuple(flips), note)


def _is_below(a: float | None, b: float | None, a_is_later: bool) -> bool:
    if a is None or b is None:
        return (a is None, a_is_later) > (b is None, not a_is_later)
    return a < b or (a == b and a_is_later)


def _gaps(a: Explanation, b: Explanation) -> tuple[TermGap, ...]:
    pairs = list(zip(a.terms, b.terms, strict=True))
    gaps = [
        None
        if x.contribution is None or y.contribution is None
        else x.contribution - y.contribution
        for x, y in pairs
    ]
    moved = math.fsum(abs(gap) for gap in gaps if gap is not None)
    terms = [
        TermGap(x.text, x.value, y.value, gap, None if gap is None or not moved else gap / moved)
        for (x, y), gap in zip(pairs, gaps, strict=True)
    ]
    return tuple(sorted(terms, key=lambda term: -abs(term.gap or 0.0)))
