"""Random formulas and candidates for hypothesis."""

import functools
import math

from hypothesis import strategies as st

from service.fusion.tree import UNARY_MINUS, Call, Name, Node, Number

HEADS = ("ctr", "vcr", "like")
ATTRIBUTES = ("videolen_s",)
SCALARS = ("context.hour", "user.age")
PARAMS = ("a", "b")
GLOBALS = (*HEADS, *ATTRIBUTES, *SCALARS, *PARAMS, "rank_in")

_LITERALS = (0.0, 1.0, 2.0, 0.5, 3.0, 10.0, 0.001, 30.0, 1e300, 700.0)
_ONE = ("log1p", "log", "exp", "sqrt", "abs", "sigmoid", "tanh", UNARY_MINUS)
_ACROSS = ("rank", "minmax", "zscore")
_TWO = ("+", "-", "*", "/", "^", "saturate", "decay", "rrf", "min", "max")
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")

heads = st.one_of(
    st.floats(0, 1),
    st.sampled_from((0.0, 0.25, 0.5, 1.0, -1.0)),
    st.floats(-1000, 1000),
    st.sampled_from((math.nan, math.inf, -math.inf, 1e308, -1e308)),
)
finite = st.one_of(st.sampled_from((0.0, 1.0, -1.0, 0.3, 2.0)), st.floats(-50, 50))


def _call(function: str, *operands: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.tuples(*operands).map(lambda nodes: Call(function, nodes))


def _of(functions: tuple[str, ...], *operands: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    picked = st.tuples(st.sampled_from(functions), st.tuples(*operands))
    return picked.map(lambda call: Call(*call))


def _clip(operands: tuple[Node, float, float]) -> Node:
    x, one, other = operands
    return Call("clip", (x, Number(min(one, other)), Number(max(one, other))))


def _piecewise(operands: tuple[Node, list[float], list[float]]) -> Node:
    x, places, heights = operands
    points = zip(sorted(places), heights, strict=False)
    return Call("piecewise", (x, *(Number(n) for point in points for n in point)))


@functools.cache
def numbers(
    names: tuple[str, ...] = GLOBALS, functions: tuple[str, ...] = (), depth: int = 4
) -> st.SearchStrategy[Node]:
    """Trees of numbers over `names`; `functions` are lets of one parameter."""
    leaf = st.one_of(st.sampled_from(names).map(Name), st.sampled_from(_LITERALS).map(Number))
    if depth == 0:
        return leaf
    below = numbers(names, functions, depth - 1)
    sizes = st.sampled_from((0.0, 0.5, 1.0, 7.0, 30.0))
    places = st.lists(sizes, min_size=2, max_size=4, unique=True)
    heights = st.lists(sizes, min_size=4, max_size=4)
    shapes = [
        leaf,
        _of(_TWO, below, below),
        _of(_TWO[:5], below, below),
        _of(_ONE, below),
        _of(_ACROSS, below),
        _call("if", booleans(names, functions, depth - 1), below, below),
        _call("max", below, below, below),
        st.tuples(below, sizes, sizes).map(_clip),
        st.tuples(below, places, heights).map(_piecewise),
    ]
    if functions:
        shapes.append(_of(functions, below))
    return st.one_of(shapes)


@functools.cache
def booleans(
    names: tuple[str, ...] = GLOBALS, functions: tuple[str, ...] = (), depth: int = 3
) -> st.SearchStrategy[Node]:
    below = numbers(names, functions, depth)
    comparison = _of(_COMPARISONS, below, below)
    if depth == 0:
        return comparison
    inner = booleans(names, functions, depth - 1)
    return st.one_of(comparison, _of(("and", "or"), inner, inner), _call("not", inner))
