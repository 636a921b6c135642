"""Interval arithmetic of the language: ranges of arguments in, the range of the result out.

A range holds every finite value that an expression may take; what may have no finite value at all
comes back as a problem, in words. Bounds are widened by a few units in the last place where a
function may round differently for one number and for many.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np

from service.fusion.functions import FUNCTIONS
from service.fusion.ranges import EITHER, EMPTY, FALSE, MAX, TRUE, Range, point

MOST_CANDIDATES = 10_000.0  # of a request, for what counts them
_TINY = 5e-324  # the least positive double
_ROUNDING = 1e-14  # relative
_NEAR = 1e-45  # what is nearer to 0 no float32 is
_OVERFLOW = "may overflow float64"
REMOTE = "overflows next to 0"  # a problem for soundness only

Answer = tuple[Range, str]  # (range, problem or "")
Rule = Callable[..., Answer]


def range_of(label: str, *operands: Range) -> Answer:
    """The range of a function or operator over its arguments' ranges.

    `if` and the set functions are among them, short circuits are not: the caller knows what is
    evaluated.
    """
    if any(o.empty for o in operands):
        return EMPTY, ""
    with np.errstate(all="ignore"):
        return _RULES[label](*operands)


def _corners(label: str, *operands: Range, widen: bool = False) -> Answer:
    """For a function that is monotone in each argument wherever the others are."""
    call = FUNCTIONS[label].call
    ends = [(o.low,) if o.low == o.high else (o.low, o.high) for o in operands]
    return _around([float(call(*corner)) for corner in itertools.product(*ends)], widen)


def _around(values: list[float], widen: bool = False) -> Answer:
    numbers = [v for v in values if not math.isnan(v)]
    if not numbers:
        return EMPTY, _OVERFLOW
    low, high = min(numbers), max(numbers)
    overflows = len(numbers) < len(values) or math.isinf(low) or math.isinf(high)
    if widen:
        low, high = _below(low), _above(high)
    if low == math.inf or high == -math.inf:
        return EMPTY, "overflows float64"
    return Range(max(low, -MAX), min(high, MAX)), _OVERFLOW if overflows else ""


def _below(value: float) -> float:
    return math.nextafter(value - abs(value) * _ROUNDING, -math.inf) if value else value


def _above(value: float) -> float:
    return math.nextafter(value + abs(value) * _ROUNDING, math.inf) if value else value


def _plain(label: str) -> Rule:
    return lambda *operands: _corners(label, *operands)


def _growing(label: str) -> Rule:
    """A function that no argument makes smaller, of any number of arguments."""
    call = FUNCTIONS[label].call

    def rule(*operands: Range) -> Answer:
        return _around(
            [float(call(*(o.low for o in operands))), float(call(*(o.high for o in operands)))]
        )

    return rule


def _curve(label: str, least: float, most: float) -> Rule:
    """A function that rounds, whose values are known to lie within bounds."""

    def rule(*operands: Range) -> Answer:
        found, problem = _corners(label, *operands, widen=True)
        return found.meet(Range(least, most)), problem

    return rule


def _domain(label: str, least: float, *, open_: bool, words: str) -> Rule:
    """A growing function that is defined from `least`, or only above it."""

    def rule(x: Range) -> Answer:
        first = math.nextafter(least, math.inf) if open_ else least
        if x.high < first:
            return EMPTY, f"is always {words}: its argument is {x}"
        problem = f"may be {words}: its argument is {x}" if x.low < first else ""
        found, overflow = _corners(label, x.meet(Range(first, MAX)), widen=True)
        return found, problem or overflow

    return rule


def _divide(x: Range, y: Range) -> Answer:
    if not y.holds(0.0):
        found, problem = _corners("/", x, y)
        return found, problem and _remote("/", (x, _off_zero(y)), problem)
    parts = [y.meet(Range(_TINY, MAX)), y.meet(Range(-MAX, -_TINY))]
    found = EMPTY
    for part in parts:
        if not part.empty:
            found = found.join(_corners("/", x, part)[0])
    if found.empty:
        return EMPTY, "always divides by zero"
    return found, f"may divide by zero: the divisor is {y}"


def _off_zero(x: Range) -> Range:
    """A range without 0, without what is next to 0."""
    return Range(max(x.low, _NEAR), x.high) if x.low > 0 else Range(x.low, min(x.high, -_NEAR))


def _remote(label: str, operands: tuple[Range, Range], problem: str) -> str:
    """The problem, if it is there for these operands too."""
    near = any(o.empty for o in operands) or not _corners(label, *operands)[1]
    return REMOTE if near else problem


def _power(x: Range, y: Range) -> Answer:
    whole = y.low == y.high and y.low.is_integer()
    if whole and y.low == 0:
        return point(1.0), ""
    if x.low > 0:
        found, problem = _corners("^", x, y, widen=True)
        return found, problem and _remote("^", (_off_zero(x), y), problem)
    if whole and y.low > 0:
        found, problem = _corners("^", x, y, widen=True)
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
        found, overflow = _corners("^", positive, y, widen=True)
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
    whole, problem = _corners("+", x, k)
    if not (problem or whole.holds(0.0)):
        return _corners("saturate", x, k, widen=True)
    found, divides = _divide(x, whole)
    return found, problem or divides


def _decay(x: Range, half_life: Range) -> Answer:
    if not half_life.holds(0.0):
        found, problem = _corners("decay", x, half_life, widen=True)
        return (Range(0.0, MAX) if problem else found.meet(Range(0.0, MAX))), problem
    return Range(0.0, MAX), f"may divide by zero: the half-life is {half_life}"


def _piecewise(x: Range, *knots: Range) -> Answer:
    heights = knots[1::2]
    if all(k.low == k.high for k in knots):
        places = [k.low for k in knots[0::2]]
        ends = [float(np.interp(e, places, [h.low for h in heights])) for e in (x.low, x.high)]
        inner = [h.low for p, h in zip(places, heights, strict=True) if x.holds(p)]
        return _around([*ends, *inner], widen=True)
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
    places, problem = _corners("+", k, _PLACES)
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
    **{name: _plain(name) for name in ("+", "-", "*", "-x")},
    **{name: _growing(name) for name in ("min", "max", "clip")},
    **{name: _compare(name) for name in ("<", "<=", ">", ">=", "==", "!=")},
    "/": _divide,
    "^": _power,
    "and": _both,
    "or": _either,
    "not": lambda x: (Range(1 - x.high, 1 - x.low), ""),
    "log1p": _domain("log1p", -1.0, open_=True, words="the log of a number that is not positive"),
    "log": _domain("log", 0.0, open_=True, words="the log of a number that is not positive"),
    "sqrt": _domain("sqrt", 0.0, open_=False, words="the root of a negative number"),
    "exp": _curve("exp", 0.0, MAX),
    "sigmoid": _curve("sigmoid", 0.0, 1.0),
    "tanh": _curve("tanh", -1.0, 1.0),
    "abs": _magnitude,
    "saturate": _saturate,
    "decay": _decay,
    "piecewise": _piecewise,
    "rank": lambda x: (_PLACES, ""),
    "minmax": _minmax,
    "zscore": _zscore,
    "rrf": _rrf,
}
