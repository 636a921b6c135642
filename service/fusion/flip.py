"""How little one param must change for two candidates to change places.

Where the gap between the two is a straight line in the param, or the gap between their logarithms
is (a weight of a sum, an exponent of a product), the crossing is solved from two points of the
line. Otherwise it is searched on a grid between the bounds, nearest first, and bisected.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.fusion.compiler import Formula
from service.fusion.expand import Expander, Placed
from service.fusion.program import Columns

Method = Literal["linear", "log-linear", "bisection"]
Bounds = tuple[float, float]

_GRID = 32  # values tried on each side of the present one
_HALVINGS = 48
_DIGITS = (3, 4, 6, 8, 10, 12, 15)
_NEAR = 0.01  # of the change: what rounding may add to it


@dataclass(frozen=True)
class Flip:
    """What one param would have to be.

    Attributes:
        param: its name.
        value: what it is.
        needs: a value, with few digits and as near as they allow, under which the two have changed
            places; None where there is none within the bounds.
        crossing: where the two are equal; outside the bounds where `needs` is None; None where no
            value was found at all.
        method: how the crossing was found.
        bounds: what the plan allows.
    """

    param: str
    value: float
    needs: float | None
    crossing: float | None
    method: Method
    bounds: Bounds

    @property
    def share_of_range(self) -> float:
        """The change as a share of what the bounds allow: comparable between params."""
        if self.needs is None:
            return math.inf
        return abs(self.needs - self.value) / ((self.bounds[1] - self.bounds[0]) or 1.0)


@dataclass(frozen=True)
class _Two:
    """The scores of the candidate that is above now and of the one below, under one value."""

    above: float
    below: float
    above_is_first: bool

    @property
    def valid(self) -> bool:
        return math.isfinite(self.above) and math.isfinite(self.below)

    @property
    def flipped(self) -> bool:
        tied = self.above == self.below and not self.above_is_first
        return self.valid and (self.below > self.above or tied)


_At = Callable[[float], _Two]


def smallest_flips(
    formula: Formula,
    columns: Columns,
    scalars: Mapping[str, float],
    rows: int,
    pair: tuple[int, int],
    params: Mapping[str, float],
    bounds: Mapping[str, Bounds],
) -> list[Flip]:
    """For each param of the formula that has bounds, the smallest change of it alone that puts the
    second of `pair` above the first; the smallest share of the bounds first.

    Args:
        formula: compiled with `params`.
        columns, scalars, rows: as for the formula.
        pair: input positions; the first is above the second now.
        params: all params of the formula.
        bounds: param -> least and greatest value.
    """
    scores = formula.tunable()
    above, below = pair
    if formula.by_itself:  # the others do not matter
        columns = {name: np.asarray(columns[name])[[*pair]] for name in formula.inputs}
        rows, above, below = 2, 0, 1
    root = Expander(formula.lets, formula.params).expand(formula.source)
    flips = []
    for name in sorted(formula.params & bounds.keys()):

        def at(value: float, name: str = name) -> _Two:
            found = scores({**params, name: value}, columns, scalars, rows).values
            return _Two(float(found[above]), float(found[below]), pair[0] < pair[1])

        flips.append(_flip(name, params[name], bounds[name], _form(root, name), at))
    return sorted(flips, key=lambda flip: flip.share_of_range)


def _flip(name: str, value: float, bounds: Bounds, form: Method, at: _At) -> Flip:
    low, high = min(bounds[0], value), max(bounds[1], value)
    if form != "bisection":
        solved, crossing = _solve(value, (low, high), form, at)
        if solved and crossing is None:
            return Flip(name, value, None, None, form, bounds)
        if crossing is not None and not low <= crossing <= high:
            return Flip(name, value, None, crossing, form, bounds)
        if crossing is not None:
            needs = _few_digits(value, crossing, (low, high), at)
            if needs is not None:
                return Flip(name, value, needs, crossing, form, bounds)
    crossing = _search(value, (low, high), at)
    needs = None if crossing is None else _few_digits(value, crossing, (low, high), at)
    return Flip(name, value, needs, crossing, "bisection", bounds)


def _solve(value: float, bounds: Bounds, form: Method, at: _At) -> tuple[bool, float | None]:
    """(whether there is a line, where it crosses zero)."""
    far = max(bounds, key=lambda bound: abs(bound - value))
    if far == value:
        return False, None
    gaps = [_gap(at(v), form) for v in (value, far)]
    if not all(map(math.isfinite, gaps)):
        return False, None
    rise = gaps[1] - gaps[0]
    if abs(rise) <= 1e-12 * max(map(abs, gaps)):
        return True, None  # moves both alike
    return True, value - gaps[0] * (far - value) / rise


def _gap(two: _Two, form: Method) -> float:
    if form == "linear":
        return two.above - two.below
    if not (two.above > 0 and two.below > 0):
        return math.nan
    return math.log(two.above) - math.log(two.below)


def _search(value: float, bounds: Bounds, at: _At) -> float | None:
    """The nearest value, to a grid, from which on the two have changed places."""
    for kept, tried in _outwards(value, bounds):
        if at(tried).flipped:
            for _ in range(_HALVINGS):
                middle = (kept + tried) / 2
                kept, tried = (kept, middle) if at(middle).flipped else (middle, tried)
            return tried
    return None


def _outwards(value: float, bounds: Bounds) -> Iterator[tuple[float, float]]:
    """(the value before, a value), both sides in turn, the nearest first."""
    steps = []
    for bound in bounds:
        places = [value + (bound - value) * n / _GRID for n in range(_GRID + 1)]
        places[-1] = bound
        steps += list(itertools.pairwise(places)) if bound != value else []
    return iter(sorted(steps, key=lambda step: abs(step[1] - value)))


def _few_digits(value: float, crossing: float, bounds: Bounds, at: _At) -> float | None:
    """A value at the crossing or just beyond it, with few digits."""
    direction = 1 if crossing > value else -1
    room = max(abs(crossing - value), abs(crossing) * 1e-12)
    for digits in _DIGITS:
        size = math.floor(math.log10(abs(crossing) or room))
        places = digits - 1 - size
        nearest = round(crossing, places)
        for rounded in (nearest, round(nearest + direction * 10.0**-places, places)):
            near = abs(rounded - crossing) <= _NEAR * room or digits == _DIGITS[-1]
            if near and bounds[0] <= rounded <= bounds[1] and at(rounded).flipped:
                return rounded
    return crossing if at(crossing).flipped else None


def _form(root: Placed, param: str) -> Method:
    """How the gap between two scores depends on the param, as far as the tree proves it."""
    if _is_straight(root, param):
        return "linear"
    return "log-linear" if _is_log_straight(root, param) else "bisection"


def _is_straight(node: Placed, param: str) -> bool:
    """Whether the value is a + b·param with a and b free of it."""
    if param not in node.params:
        return True
    match node.label, node.operands:
        case _, ():
            return True
        case ("+" | "-", (left, right)):
            return _is_straight(left, param) and _is_straight(right, param)
        case ("*", (left, right)):
            free = [param not in side.params for side in (left, right)]
            return any(free) and _is_straight(left, param) and _is_straight(right, param)
        case ("/", (left, right)):
            return param not in right.params and _is_straight(left, param)
        case ("-x", (operand,)):
            return _is_straight(operand, param)
    return False


def _is_log_straight(node: Placed, param: str) -> bool:
    """Whether the logarithm of a positive value is a + b·param with a and b free of it."""
    if param not in node.params:
        return True
    match node.label, node.operands:
        case ("*" | "/", (left, right)):
            return _is_log_straight(left, param) and _is_log_straight(right, param)
        case ("^", (base, exponent)) if param not in base.params:
            return _is_straight(exponent, param)
        case ("^", (base, exponent)) if param not in exponent.params:
            return _is_log_straight(base, param)
        case ("exp", (operand,)):
            return _is_straight(operand, param)
    return False
