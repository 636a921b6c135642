"""Every function and operator of the language: one table from name to NumPy.

One rule carries the arithmetic policy: **a value that is not finite means "invalid candidate"**,
and no function makes a finite value of one that is not. Most NumPy arithmetic keeps the rule by
itself (inf - inf and 0 * inf are NaN); where it does not (1 / inf = 0, exp(-inf) = 0, NaN ^ 0 = 1),
`_carry` restores it. `if` selects a branch, and the left side of `and` and `or` may decide alone:
what is not selected cannot invalidate.

Values are float64, one per candidate or one for all. Booleans are 1.0 and 0.0; NaN when invalid.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Value = NDArray[np.float64] | float
Members = NDArray[np.bool_]  # (N,) the candidates that set functions look at


class Kind(Enum):
    """What an expression is."""

    NUMBER = "number"
    BOOLEAN = "comparison"


@dataclass(frozen=True)
class Function:
    """One row of the table.

    Attributes:
        call: the arithmetic; a function across the candidate set takes the members first.
        usage: how it is written, for messages.
        least: fewest arguments.
        most: most arguments; None = any number.
        takes: kinds of the arguments; the last one is repeated.
        returns: kind of the result.
        across: whether the result depends on the other candidates.
        check: what is wrong with the arguments, if anything; those not known at compile time
            are None.
    """

    call: Callable[..., Value]
    usage: str
    least: int
    most: int | None
    takes: tuple[Kind, ...] = (Kind.NUMBER,)
    returns: Kind = Kind.NUMBER
    across: bool = False
    check: Callable[[Sequence[float | None]], str | None] = lambda arguments: None

    def kind_of(self, position: int) -> Kind:
        return self.takes[min(position, len(self.takes) - 1)]


def _carry(result: Value, *used: Value) -> Value:
    """`result`, but NaN wherever one of the values it was made from is not finite."""
    for value in used:
        if isinstance(value, np.ndarray):
            result = result + (value - value)
        elif not math.isfinite(value):
            result = result + math.nan
    return result


def _carrying(call: Callable[..., Value]) -> Callable[..., Value]:
    return lambda *arguments: _carry(call(*arguments), *arguments)


def divide(x: Value, y: Value) -> Value:
    return _carry(np.divide(x, y), y)


def _power(x: Value, y: Value) -> Value:
    raised = np.power(x, y)
    if isinstance(y, float) and 0 < y < math.inf:  # keeps what is not finite
        return raised
    return _carry(raised, x, y)


def _comparison(compare: np.ufunc) -> Callable[..., Value]:
    return lambda x, y: _carry(compare(x, y).astype(np.float64), x, y)


def _if(condition: Value, then: Value, otherwise: Value) -> Value:
    return _carry(np.where(np.not_equal(condition, 0), then, otherwise), condition)


def _and(left: Value, right: Value) -> Value:
    return np.where(np.equal(left, 1), right, left)


def _or(left: Value, right: Value) -> Value:
    return np.where(np.equal(left, 0), right, left)


def _sigmoid(x: Value) -> Value:
    # exp overflows for x < -709, where 1 / inf = 0 is the right limit.
    return 1 / (1 + np.exp(np.negative(x)))


def _clip(x: Value, low: Value, high: Value) -> Value:
    return np.minimum(np.maximum(x, low), high)


def _decay(x: Value, half_life: Value) -> Value:
    halvings = np.negative(divide(x, half_life))
    return _carry(np.exp2(halvings), halvings)


def _piecewise(x: Value, *knots: float) -> Value:
    return _carry(np.interp(x, knots[0::2], knots[1::2]), x)


def per_candidate(value: Value, rows: int) -> NDArray[np.float64]:
    """(rows,) of a value, which may be one for all."""
    # np.broadcast_to would do as well, at several times the cost of a step.
    if isinstance(value, np.ndarray) and value.ndim:
        return value
    return np.full(rows, value)


def _across(
    measure: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Callable[[Members, Value], Value]:
    """`measure` over the members whose value is finite; NaN for all others."""

    def call(members: Members, x: Value) -> Value:
        values = per_candidate(x, len(members))
        chosen = members & np.isfinite(values)
        result = np.full(members.shape, np.nan)
        if chosen.any():
            result[chosen] = measure(values[chosen])
        return result

    return call


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    ranks = np.empty(len(values))
    ranks[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return ranks


def _minmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(len(values))
    return np.asarray(divide(values - low, high - low))


def _zscore(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # z-scores do not change with scale and shift; between 0 and 1 no square can overflow or vanish.
    scaled = _minmax(values)
    deviation = scaled.std()
    return (scaled - scaled.mean()) / deviation if deviation else scaled


_rank = _across(_ranks)


def _rrf(members: Members, x: Value, k: Value) -> Value:
    return divide(1.0, k + _rank(members, x))


def _check_clip(arguments: Sequence[float | None]) -> str | None:
    low, high = arguments[1:]
    if low is not None and high is not None and low > high:
        return f"clip has its bounds the wrong way round: {low:g} > {high:g}"
    return None


def _check_piecewise(arguments: Sequence[float | None]) -> str | None:
    knots = arguments[1:]
    if len(knots) % 2:
        return f"piecewise takes pairs x1, y1, x2, y2 … after x; {len(knots)} numbers are no pairs"
    if any(k is None or not math.isfinite(k) for k in knots):
        return "the points of piecewise must be numbers or params"
    places = [k for k in knots[0::2] if k is not None]
    for left, right in itertools.pairwise(places):
        if left >= right:
            return f"the points of piecewise must go up in x: {left:g} is before {right:g}"
    return None


_BOOLEANS = (Kind.BOOLEAN,)


FUNCTIONS: dict[str, Function] = {
    "+": Function(np.add, "a + b", 2, 2),
    "-": Function(np.subtract, "a - b", 2, 2),
    "*": Function(np.multiply, "a * b", 2, 2),
    "/": Function(divide, "a / b", 2, 2),
    "^": Function(_power, "a ^ b", 2, 2),
    "-x": Function(np.negative, "-a", 1, 1),
    "<": Function(_comparison(np.less), "a < b", 2, 2, returns=Kind.BOOLEAN),
    "<=": Function(_comparison(np.less_equal), "a <= b", 2, 2, returns=Kind.BOOLEAN),
    ">": Function(_comparison(np.greater), "a > b", 2, 2, returns=Kind.BOOLEAN),
    ">=": Function(_comparison(np.greater_equal), "a >= b", 2, 2, returns=Kind.BOOLEAN),
    "==": Function(_comparison(np.equal), "a == b", 2, 2, returns=Kind.BOOLEAN),
    "!=": Function(_comparison(np.not_equal), "a != b", 2, 2, returns=Kind.BOOLEAN),
    "and": Function(_and, "a and b", 2, 2, takes=_BOOLEANS, returns=Kind.BOOLEAN),
    "or": Function(_or, "a or b", 2, 2, takes=_BOOLEANS, returns=Kind.BOOLEAN),
    "not": Function(lambda a: 1 - a, "not a", 1, 1, takes=_BOOLEANS, returns=Kind.BOOLEAN),
    "if": Function(_if, "if(c, a, b)", 3, 3, takes=(Kind.BOOLEAN, Kind.NUMBER, Kind.NUMBER)),
    "log1p": Function(np.log1p, "log1p(x)", 1, 1),
    "log": Function(np.log, "log(x)", 1, 1),
    "exp": Function(_carrying(np.exp), "exp(x)", 1, 1),
    "sqrt": Function(np.sqrt, "sqrt(x)", 1, 1),
    "abs": Function(np.abs, "abs(x)", 1, 1),
    "clip": Function(_carrying(_clip), "clip(x, lo, hi)", 3, 3, check=_check_clip),
    "sigmoid": Function(_carrying(_sigmoid), "sigmoid(x)", 1, 1),
    "tanh": Function(_carrying(np.tanh), "tanh(x)", 1, 1),
    "min": Function(
        _carrying(lambda *xs: functools.reduce(np.minimum, xs)), "min(a, b, …)", 2, None
    ),
    "max": Function(
        _carrying(lambda *xs: functools.reduce(np.maximum, xs)), "max(a, b, …)", 2, None
    ),
    "saturate": Function(lambda x, k: divide(x, x + k), "saturate(x, k)", 2, 2),
    "decay": Function(_decay, "decay(x, h)", 2, 2),
    "piecewise": Function(
        _piecewise, "piecewise(x, x1, y1, x2, y2, …)", 5, None, check=_check_piecewise
    ),
    "rank": Function(_rank, "rank(x)", 1, 1, across=True),
    "minmax": Function(_across(_minmax), "minmax(x)", 1, 1, across=True),
    "zscore": Function(_across(_zscore), "zscore(x)", 1, 1, across=True),
    "rrf": Function(_rrf, "rrf(x, k)", 2, 2, across=True),
}

NAMED = tuple(n for n in FUNCTIONS if n.isidentifier() and n not in {"and", "or", "not"})
