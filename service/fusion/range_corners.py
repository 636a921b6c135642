"""The range of a function that is monotone in each argument: what it is at the ends of theirs.

Bounds are widened by a few units in the last place where a function may round differently for one
number and for many.
"""

import itertools
import math
from collections.abc import Callable

from service.fusion.functions import FUNCTIONS
from service.fusion.ranges import EMPTY, MAX, Range

OVERFLOW = "may overflow float64"
_ROUNDING = 1e-14  # relative

Answer = tuple[Range, str]  # (range, problem or "")
Rule = Callable[..., Answer]


def corners(label: str, *operands: Range, widen: bool = False) -> Answer:
    """For a function that is monotone in each argument wherever the others are."""
    call = FUNCTIONS[label].call
    ends = [(o.low,) if o.low == o.high else (o.low, o.high) for o in operands]
    return around([float(call(*corner)) for corner in itertools.product(*ends)], widen)


def around(values: list[float], widen: bool = False) -> Answer:
    numbers = [v for v in values if not math.isnan(v)]
    if not numbers:
        return EMPTY, OVERFLOW
    low, high = min(numbers), max(numbers)
    overflows = len(numbers) < len(values) or math.isinf(low) or math.isinf(high)
    if widen:
        low, high = _below(low), _above(high)
    if low == math.inf or high == -math.inf:
        return EMPTY, "overflows float64"
    return Range(max(low, -MAX), min(high, MAX)), OVERFLOW if overflows else ""


def _below(value: float) -> float:
    return math.nextafter(value - abs(value) * _ROUNDING, -math.inf) if value else value


def _above(value: float) -> float:
    return math.nextafter(value + abs(value) * _ROUNDING, math.inf) if value else value


def plain(label: str) -> Rule:
    return lambda *operands: corners(label, *operands)


def growing(label: str) -> Rule:
    """A function that no argument makes smaller, of any number of arguments."""
    call = FUNCTIONS[label].call

    def rule(*operands: Range) -> Answer:
        return around(
            [float(call(*(o.low for o in operands))), float(call(*(o.high for o in operands)))]
        )

    return rule


def curve(label: str, least: float, most: float) -> Rule:
    """A function that rounds, whose values are known to lie within bounds."""

    def rule(*operands: Range) -> Answer:
        found, problem = corners(label, *operands, widen=True)
        return found.meet(Range(least, most)), problem

    return rule


def domain(label: str, least: float, *, open_: bool, words: str) -> Rule:
    """A growing function that is defined from `least`, or only above it."""

    def rule(x: Range) -> Answer:
        first = math.nextafter(least, math.inf) if open_ else least
        if x.high < first:
            return EMPTY, f"is always {words}: its argument is {x}"
        problem = f"may be {words}: its argument is {x}" if x.low < first else ""
        found, overflow = corners(label, x.meet(Range(first, MAX)), widen=True)
        return found, problem or overflow

    return rule
