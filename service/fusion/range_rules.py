"""Interval arithmetic of the language: ranges of arguments in, the range of the result out.

A range holds every finite value that an expression may take; what may have no finite value at all
comes back as a problem, in words. Most rules are those of `range_corners`; the others are here.
"""

import math

import numpy as np

from service.fusion.functions import FUNCTIONS
from service.fusion.range_corners import (
    Answer,
    Rule,
    around,
    corners,
    curve,
    domain,
    growing,
    plain,
)
from service.fusion.ranges import EITHER, EMPTY, FALSE, MAX, TRUE, Range, point

MOST_CANDIDATES = 10_000.0  # of a request, for what counts them
_TINY = 5e-324  # the least positive double
_NEAR = 1e-45  # what is nearer to 0 no float32 is
REMOTE = "overflows next to 0"  # a problem for soundness only


def range_of(label: str, *operands: Range) -> Answer:
    """The range of a function or operator over its arguments' ranges.

    `if` and the set functions are among them, short circuits are not: the caller knows what is
    evaluated.
    """
    if any(o.empty for o in operands):
        return EMPTY, ""
    with np.errstate(all="ignore"):
        return _RULES[label](*operands)


def _divide(x: Range, y: Range) -> Answer:
    if not y.holds(0.0):
        found, problem = corners("/", x, y)
        return found, problem and _remote("/", (x, _off_zero(y)), problem)
    parts = [y.meet(Range(_TINY, MAX)), y.meet(Range(-MAX, -_TINY))]
    found = EMPTY
    for part in parts:
        if not part.empty:
            found = found.join(corners("/", x, part)[0])
    if found.empty:
        return EMPTY, "always divides by zero"
    return found, f"may divide by zero: the divisor is {y}"


def _off_zero(x: Range) -> Range:
    """A range without 0, without what is next to 0."""
    return Range(max(x.low, _NEAR), x.high) if x.low > 0 else Range(x.low, min(x.high, -_NEAR))


def _remote(label: str, operands: tuple[Range, Range], problem: str) -> str:
    """The problem, if it is there for these operands too."""
    near = any(o.empty for o in operands) or not corners(label, *operands)[1]
    return REMOTE if near else problem


def _power(x: Range, y: Range) -> Answer:
    whole = y.low == y.high and y.low.is_integer()
    if whole and y.low == 0:
        return point(1.0), ""
    if x.low > 0:
        found, problem = corners("^", x, y, widen=True)
        return found, problem and _remote("^", (_off_zero(x), y), problem)
    if whole and y.low > 0:
        found, problem = corners("^", x, y, widen=True)
        if y.low % 2 == 0 and x.high > 0:
            found = Range(0.0, found.high)
        return found, problem
    problem = ""
    if y.low < 0 and x.holds(0.0):
        problem = f"may take 0 to a negative power: the base is {x}, the exponent {y}"
    elif x.low < 0 and not whole:
        problem = f"may take a negative number to a fractional power: the base is {x}"
    size = Range(0.0 if x.holds(0.0) else min(abs(x.low), abs(x.high)), max(abs(x.low), x.high))
    found = EMPTY
    positive = size.meet(Range(_TINY, MAX))
    if not positive.empty:
        found, overflow = corners("^", positive, y, widen=True)
        problem = problem or overflow
        if x.low < 0:
            found = found.join(Range(-found.high, -found.low))
    if x.holds(0.0) and y.high > 0:
        found = found.join(point(0.0))
    if y.holds(0.0):
        found = found.join(point(1.0))
    return found, problem


def _magnitude(x: Range) -> Answer:
    low = 0.0 if x.holds(0.0) else min(abs(x.low), abs(x.high))
    return Range(low, max(abs(x.low), abs(x.high))), ""


def _saturate(x: Range, k: Range) -> Answer:
    whole, problem = corners("+", x, k)
    if not (problem or whole.holds(0.0)):
        return corners("saturate", x, k, widen=True)
    found, divides = _divide(x, whole)
    return found, problem or divides


def _decay(x: Range, half_life: Range) -> Answer:
    if not half_life.holds(0.0):
        found, problem = corners("decay", x, half_life, widen=True)
        return (Range(0.0, MAX) if problem else found.meet(Range(0.0, MAX))), problem
    return Range(0.0, MAX), f"may divide by zero: the half-life is {half_life}"


def _piecewise(x: Range, *knots: Range) -> Answer:
    heights = knots[1::2]
    if all(k.low == k.high for k in knots):
        places = [k.low for k in knots[0::2]]
        ends = [float(np.interp(e, places, [h.low for h in heights])) for e in (x.low, x.high)]
        inner = [h.low for p, h in zip(places, heights, strict=True) if x.holds(p)]
        return around([*ends, *inner], widen=True)
    found = heights[0]
    for height in heights[1:]:
        found = found.join(height)
    return found, ""


def _minmax(x: Range) -> Answer:
    if x.low == x.high:
        return point(0.0), ""
    spread = x.high - x.low
    return Range(0.0, 1.0), "may overflow: its values lie too far apart" if math.isinf(
        spread
    ) else ""


def _zscore(x: Range) -> Answer:
    _, problem = _minmax(x)
    if x.low == x.high:
        return point(0.0), problem
    most = math.sqrt(MOST_CANDIDATES)
    return Range(-most, most), problem


def _rrf(x: Range, k: Range) -> Answer:
    places, problem = corners("+", k, _PLACES)
    found, divides = _divide(point(1.0), places)
    return found, problem or divides


def _compare(label: str) -> Rule:
    call = FUNCTIONS[label].call

    def ordered(x: Range, y: Range) -> Answer:
        best, worst = (x.low, y.high), (x.high, y.low)
        answers = {float(call(*pair)) for pair in (best, worst)}
        return (EITHER if len(answers) > 1 else point(answers.pop())), ""

    def equal(x: Range, y: Range) -> Answer:
        if x.meet(y).empty:
            return (FALSE if label == "==" else TRUE), ""
        if x.low == x.high == y.low == y.high:
            return (TRUE if label == "==" else FALSE), ""
        return EITHER, ""

    return equal if label in {"==", "!="} else ordered


def _either(x: Range, y: Range) -> Answer:
    return Range(max(x.low, y.low), max(x.high, y.high)), ""


def _both(x: Range, y: Range) -> Answer:
    return Range(min(x.low, y.low), min(x.high, y.high)), ""


_PLACES = Range(1.0, MOST_CANDIDATES)

_RULES: dict[str, Rule] = {
    **{name: plain(name) for name in ("+", "-", "*", "-x")},
    **{name: growing(name) for name in ("min", "max", "clip")},
    **{name: _compare(name) for name in ("<", "<=", ">", ">=", "==", "!=")},
    "/": _divide,
    "^": _power,
    "and": _both,
    "or": _either,
    "not": lambda x: (Range(1 - x.high, 1 - x.low), ""),
    "log1p": domain("log1p", -1.0, open_=True, words="the log of a number that is not positive"),
    "log": domain("log", 0.0, open_=True, words="the log of a number that is not positive"),
    "sqrt": domain("sqrt", 0.0, open_=False, words="the root of a negative number"),
    "exp": curve("exp", 0.0, MAX),
    "sigmoid": curve("sigmoid", 0.0, 1.0),
    "tanh": curve("tanh", -1.0, 1.0),
    "abs": _magnitude,
    "saturate": _saturate,
    "decay": _decay,
    "piecewise": _piecewise,
    "rank": lambda x: (_PLACES, ""),
    "minmax": _minmax,
    "zscore": _zscore,
    "rrf": _rrf,
}
