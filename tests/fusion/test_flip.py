import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.fusion import compile_formula
from service.fusion.flip import smallest_flips
from tests.fusion.test_compiler import LIMITS

HEADS = ("ctr", "vcr", "like")


def flips(source, params, columns, pair=(0, 1), bounds=None, lets=None, rows=2):
    formula = compile_formula(source, params=params, heads=HEADS, lets=lets)
    arrays = {name: np.array(values) for name, values in columns.items()}
    limits = bounds or dict.fromkeys(params, (0.0, 5.0))
    return {
        flip.param: flip for flip in smallest_flips(formula, arrays, {}, rows, pair, params, limits)
    }


def score(source, params, columns, lets=None):
    formula = compile_formula(source, params=params, heads=HEADS, lets=lets)
    rows = len(columns["ctr"])
    return formula({n: np.array(v) for n, v in columns.items()}, rows=rows).values


TWO = {"ctr": [0.5, 0.2], "vcr": [0.2, 0.6], "like": [0.1, 0.1]}


def test_the_exponent_of_a_product_is_solved_in_logarithms():
    found = flips("ctr^a * (1 + vcr)^b", {"a": 1.0, "b": 1.2}, TWO)
    # a·log(2.5) = b·log(1.6/1.2) at the crossing
    assert found["a"].method == found["b"].method == "log-linear"
    assert found["a"].crossing == pytest.approx(1.2 * math.log(1.6 / 1.2) / math.log(2.5))
    assert found["b"].crossing == pytest.approx(math.log(2.5) / math.log(1.6 / 1.2))
    assert found["a"].needs < found["a"].crossing
    assert found["b"].needs > found["b"].crossing


def test_the_weight_of_a_sum_is_solved_in_values():
    found = flips("a * ctr + b * vcr", {"a": 2.0, "b": 1.0}, TWO)
    assert found["a"].method == "linear"
    assert found["a"].crossing == pytest.approx(0.4 / 0.3)
    assert found["b"].crossing == pytest.approx(1.5)


def test_a_weight_within_a_let_is_found_there():
    lets = {"boost(x)": "1 + b * x", "final": "ctr * boost(vcr)"}
    found = flips("final", {"b": 1.0}, TWO, lets=lets, bounds={"b": (0, 50)})["b"]
    # 0.5 (1 + 0.2 b) = 0.2 (1 + 0.6 b)
    assert found.method == "linear"
    assert found.crossing == pytest.approx(15.0, rel=1e-9)
    assert 15 <= found.needs <= 15.14


@pytest.mark.parametrize("source", ["(1 + a * vcr)^3 * ctr", "ctr + log1p(a * vcr)", "ctr + vcr^a"])
def test_what_is_no_line_is_bisected(source):
    columns = {"ctr": [0.5, 0.4], "vcr": [0.1, 0.9], "like": [0.1, 0.1]}
    pair, start = ((1, 0), 2.0) if source.endswith("vcr^a") else ((0, 1), 0.0)
    found = flips(source, {"a": start}, columns, pair, {"a": (0.0, 200.0)})["a"]
    assert found.method == "bisection"
    at = score(source, {"a": found.crossing}, columns)
    assert at[0] == pytest.approx(at[1], rel=1e-9)


def test_a_param_that_moves_both_alike_flips_nothing():
    found = flips("ctr * a + vcr * 0", {"a": 1.0}, {**TWO, "ctr": [0.5, 0.4]})["a"]
    assert found.needs is None
    alike = flips("ctr + a * like", {"a": 1.0}, TWO)["a"]
    assert (alike.needs, alike.crossing, alike.method) == (None, None, "linear")


def test_a_crossing_beyond_the_bounds_is_told_and_not_offered():
    found = flips("a * ctr + b * vcr", {"a": 2.0, "b": 1.0}, TWO, bounds={"b": (0.0, 1.4)})["b"]
    assert found.needs is None
    assert found.crossing == pytest.approx(1.5)


def test_functions_across_the_set_are_searched_with_all_candidates():
    columns = {"ctr": [0.9, 0.5, 0.1], "vcr": [0.1, 0.5, 0.9], "like": [0.0] * 3}
    found = flips("rank(vcr) * a - rank(ctr)", {"a": 0.5}, columns, bounds={"a": (-2, 5)}, rows=3)
    # a (3 - 2) - (1 - 2): ranks of the first are 3 and 1, of the second 2 and 2
    assert found["a"].crossing == pytest.approx(-1.0)
    assert found["a"].method == "linear"


def test_the_smallest_share_of_the_bounds_comes_first():
    formula = compile_formula("a * ctr + b * vcr", params={"a": 2.0, "b": 1.0}, heads=HEADS)
    arrays = {name: np.array(values) for name, values in TWO.items()}
    bounds = {"a": (0.0, 2.0), "b": (0.0, 100.0)}
    found = smallest_flips(formula, arrays, {}, 2, (0, 1), {"a": 2.0, "b": 1.0}, bounds)
    assert [flip.param for flip in found] == ["b", "a"]


SOURCES = (
    "ctr^a * (1 + vcr)^b",
    "a * ctr + b * vcr - like",
    "ctr * (1 + a * vcr) + b * like",
    "exp(a * ctr) / (1 + vcr)^b",
    "ctr^a + vcr^b",
    "log1p(a * ctr) * (1 + b * vcr)",
    "a / (1 + rank(ctr)) + b * minmax(vcr)",
    "piecewise(ctr, 0, a, 1, 5) + b * vcr",
)


@LIMITS
@given(
    st.sampled_from(SOURCES),
    st.lists(st.lists(st.floats(0.01, 0.99), min_size=4, max_size=4), min_size=3, max_size=3),
    st.floats(0, 5),
    st.floats(0, 5),
)
def test_what_a_flip_names_flips_and_a_tenth_less_does_not(source, values, a, b):
    columns = dict(zip(HEADS, values, strict=True))
    params = {"a": a, "b": b}
    scores = score(source, params, columns)
    assume(len(set(scores.tolist())) == 4)
    first, second = (int(i) for i in np.argsort(-scores)[[1, 2]])
    for name, flip in flips(source, params, columns, (first, second), rows=4).items():
        if flip.needs is None:
            continue
        assert 0 <= flip.needs <= 5
        moved = score(source, {**params, name: flip.needs}, columns)
        assert moved[second] >= moved[first]
        short = score(source, {**params, name: a_tenth_less(flip)}, columns)
        assert short[first] >= short[second]


def a_tenth_less(flip):
    return flip.value + 0.9 * (flip.needs - flip.value)
