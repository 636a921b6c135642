"""The formula language again, slowly: a candidate at a time, plain floats, its own policy.

Shares nothing with the compiler but the tree. A let is called by name: an argument is evaluated
where its parameter is used, so what is not used cannot invalidate.
"""

import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from service.fusion.tree import Call, Name, Node, Number


class Invalid(Exception):
    """This candidate has no score."""


@dataclass(frozen=True)
class Bound:
    """An argument that waits to be evaluated, with the parameters its own names stand for."""

    node: Node
    parameters: Mapping[str, "Bound"]


@dataclass
class Reference:
    """`lets`: name -> (parameters, tree). `wobble` disturbs every function that may round."""

    columns: Mapping[str, Sequence[float]]
    rows: int
    scalars: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, float] = field(default_factory=dict)
    lets: Mapping[str, tuple[tuple[str, ...], Node]] = field(default_factory=dict)
    wobble: float = 0.0

    def scores(self, tree: Node) -> list[float | None]:
        self.members = list(range(self.rows))
        for _ in range(8):
            scores = [
                self._try(tree, {}, row) if row in self.members else None
                for row in range(self.rows)
            ]
            left = [row for row in self.members if scores[row] is not None]
            if left == self.members:
                break
            self.members = left
        return scores

    def _try(self, node: Node, parameters: Mapping[str, Bound], row: int) -> float | None:
        try:
            return self._value(node, parameters, row)
        except Invalid:
            return None

    def _value(self, node: Node, parameters: Mapping[str, Bound], row: int) -> float:
        try:
            value = self._any(node, parameters, row)
        except (ArithmeticError, ValueError):  # division by zero, overflow, outside the domain
            raise Invalid from None
        if not math.isfinite(value):
            raise Invalid
        return value

    def _any(self, node: Node, parameters: Mapping[str, Bound], row: int) -> float:
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Name):
            return self._named(node.name, parameters, row)
        assert isinstance(node, Call)
        name, operands = node.function, node.operands
        if name in self.lets:
            names, body = self.lets[name]
            bound = {n: Bound(o, parameters) for n, o in zip(names, operands, strict=True)}
            return self._value(body, bound, row)

        def value(position: int) -> float:
            return self._value(operands[position], parameters, row)

        if name == "if":
            return value(1) if value(0) else value(2)
        if name == "and":
            return value(1) if value(0) else 0.0
        if name == "or":
            return 1.0 if value(0) else value(1)
        if name in ACROSS:
            own = value(0)
            others = [self._try(operands[0], parameters, member) for member in self.members]
            chosen = [(m, v) for m, v in zip(self.members, others, strict=True) if v is not None]
            extra = [value(p) for p in range(1, len(operands))]
            return self._rounded(name, (own, *extra), ACROSS[name](row, own, chosen, *extra))
        arguments = [value(position) for position in range(len(operands))]
        return self._rounded(name, arguments, ALONE[name](*arguments))

    def _named(self, name: str, parameters: Mapping[str, Bound], row: int) -> float:
        if name in parameters:
            return self._value(parameters[name].node, parameters[name].parameters, row)
        if name in self.lets:
            return self._value(self.lets[name][1], {}, row)
        if name in self.params:
            return self.params[name]
        if name == "rank_in":
            return float(row + 1)
        if name in self.scalars:
            return self.scalars[name]
        return float(self.columns[name][row])

    def _rounded(self, name: str, arguments: Sequence[float], value: float) -> float:
        if not self.wobble or name not in ROUNDED:
            return value
        # The same call is disturbed in the same way, so that exp(x) - exp(x) stays 0.
        direction = zlib.crc32(repr((name, *arguments)).encode()) % 1001 - 500
        return value * (1 + self.wobble * direction / 500)


def power(x: float, y: float) -> float:
    return 1.0 if y == 0 else math.pow(x, y)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def piecewise(x: float, *knots: float) -> float:
    points = list(zip(knots[0::2], knots[1::2], strict=True))
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * ((x - x0) / (x1 - x0))
    return points[-1][1]


Chosen = list[tuple[int, float]]  # (row, value) of the members that have one


def rank(row: int, own: float, chosen: Chosen) -> float:
    return 1.0 + sum(v > own or (v == own and r < row) for r, v in chosen)


def minmax(row: int, own: float, chosen: Chosen) -> float:
    low, high = min(v for _, v in chosen), max(v for _, v in chosen)
    if math.isinf(high - low):
        raise Invalid
    return 0.0 if low == high else (own - low) / (high - low)


def zscore(row: int, own: float, chosen: Chosen) -> float:
    minmax(row, own, chosen)  # a range that overflows has no z-scores
    exact = [Fraction(v) for _, v in chosen]
    mean = sum(exact) / len(exact)
    variance = sum((v - mean) ** 2 for v in exact) / len(exact)
    if variance == 0:
        return 0.0
    off = Fraction(own) - mean
    return math.copysign(math.sqrt(off**2 / variance), off)


ROUNDED = {"^", "log1p", "log", "exp", "sigmoid", "tanh", "decay", "piecewise", "zscore"}
ALONE = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "^": power,
    "-x": lambda x: -x,
    "<": lambda x, y: float(x < y),
    "<=": lambda x, y: float(x <= y),
    ">": lambda x, y: float(x > y),
    ">=": lambda x, y: float(x >= y),
    "==": lambda x, y: float(x == y),
    "!=": lambda x, y: float(x != y),
    "not": lambda x: 1.0 - x,
    "log1p": math.log1p,
    "log": math.log,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "abs": abs,
    "clip": lambda x, low, high: min(max(x, low), high),
    "sigmoid": sigmoid,
    "tanh": math.tanh,
    "min": min,
    "max": max,
    "saturate": lambda x, k: x / (x + k) if math.isfinite(x + k) else math.nan,
    "decay": lambda x, h: math.pow(2, -(x / h)) if math.isfinite(x / h) else math.nan,
    "piecewise": piecewise,
}
ACROSS = {
    "rank": rank,
    "minmax": minmax,
    "zscore": zscore,
    "rrf": lambda row, own, chosen, k: 1 / (k + rank(row, own, chosen)),
}
