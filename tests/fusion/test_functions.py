"""Every row of the arithmetic policy, and what each function is."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fusion import compile_formula
from service.fusion.functions import FUNCTIONS

NAN, INF = math.nan, math.inf


def run(source, **columns):
    """Scores of `source` over heads given as columns; None where invalid."""
    columns = {name: np.array(values, np.float64) for name, values in columns.items()}
    rows = max((len(values) for values in columns.values()), default=1)
    scores = compile_formula(source, heads=list(columns))(columns, rows=rows)
    assert np.isnan(scores.values[~scores.valid]).all()
    return [v if ok else None for v, ok in zip(scores.values.tolist(), scores.valid, strict=True)]


@pytest.mark.parametrize("power", ["x ^ 0", "x ** 0", "x ^ zero", "x ^ (1 - 1)", "x ^ -0"])
def test_anything_to_the_power_0_is_1(power):
    xs = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e308, -1e308, 5e-324]
    assert run(power, x=xs, zero=[0.0] * len(xs)) == [1.0] * len(xs)


@pytest.mark.parametrize(
    ("source", "valid"),
    [
        ("1 / x", False),
        ("x / x", False),
        ("1 / (1 / x)", False),  # 1 / inf is 0, which would hide the division by zero
        ("0 * (1 / x)", False),
        ("(1 / x) ^ 0", False),
        ("min(1, 1 / x)", False),
        ("clip(1 / x, 0, 1)", False),
        ("tanh(1 / x)", False),
        ("exp(-1 / x)", False),
        ("sigmoid(1 / x)", False),
        ("1 ^ (1 / x)", False),
        ("0.5 ^ (1 / x)", False),
        ("if(1 / x > 1, 1, 2)", False),
        ("saturate(1 / x, 1)", False),
        ("saturate(1, 1 / x)", False),
        ("saturate(1, x - 1)", False),
        ("decay(1, x)", False),
        ("decay(x, x)", False),
        ("decay(1, 1 / x)", False),
        ("piecewise(1 / x, 0, 0, 1, 1)", False),
        ("log(x)", False),
        ("log(x - 1)", False),
        ("log1p(x - 1)", False),
        ("log1p(x - 2)", False),
        ("1 / log(x)", False),  # log(0) is -inf and 1 / -inf is 0
        ("sqrt(x - 1)", False),
        ("(x - 8) ^ 0.5", False),
        ("(x - 8) ^ (1 / 3)", False),
        ("(x - 2) ^ 3", True),
        ("(x - 2) ^ -2", True),
        ("x ^ -1", False),
        ("x ^ -0.5", False),
        ("x ^ 0.5", True),
        ("exp(x + 1000)", False),
        ("1 / exp(x + 1000)", False),
        ("exp(x - 1000)", True),  # 0 is the nearest float64: underflow is not an error
        ("(x + 1e300) * 1e300", False),
        ("(x + 1e200) ^ 2", False),
        ("1 / (x + 1e200) ^ 2", False),
        ("saturate(x + 1e308, 1.7e308)", False),
        ("rank(1 / x)", False),
        ("minmax(1 / x)", False),
        ("zscore(log(x))", False),
        ("rrf(1 / x, 60)", False),
        ("rrf(x, -1)", False),
        ("rrf(x, 1 / x)", False),
    ],
)
def test_a_value_without_a_finite_answer_makes_the_candidate_invalid(source, valid):
    (score,) = run(source, x=[0.0])
    assert (score is not None) == valid


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize(
    "source",
    ["x", "x ^ 0", "0 * x", "1 / x", "min(x, 0)", "max(x, 0)", "exp(-x)", "tanh(x)", "sigmoid(x)",
     "if(x > 0, 1, 1)", "clip(x, 0, 1)", "1 ^ x", "decay(1, x)", "piecewise(x, 0, 0, 1, 1)",
     "rank(x)", "if(not x > 0, 1, 1)", "if(x > 0 or 1 < 2, 1, 2)", "if(x != x, 1, 2)"],
)  # fmt: skip
def test_a_head_that_is_not_finite_makes_only_its_candidate_invalid(source, bad):
    scores = run(source, x=[0.5, bad, 0.25])
    assert [score is None for score in scores] == [False, True, False]


@pytest.mark.parametrize(
    ("source", "scores"),
    [
        ("if(x > 0, log(x), -9)", [-9.0, 0.0]),
        ("if(x == 0, -9, 1 / x)", [-9.0, 1.0]),
        ("if(x > 0, 1 / x, 1 / x)", [None, 1.0]),
        ("if(x > 0, 3, if(x < 0, 1 / 0, 4))", [4.0, 3.0]),
        ("if(x > 0, 1 / 0, 4)", [4.0, None]),
        ("if(x > 0, 5, x) / x", [None, 5.0]),
        ("if(x > 0, rank(1 / x), 7)", [7.0, 1.0]),
        ("if(x > 0 and 1 / x > 0, 1, 2)", [2.0, 1.0]),
        ("if(1 / x > 0 and x > 0, 1, 2)", [None, 1.0]),
        ("if(x == 0 or 1 / x > 0, 1, 2)", [1.0, 1.0]),
        ("if(1 / x > 0 or x == 0, 1, 2)", [None, 1.0]),
        ("if(not (x > 0 and log(x) > 5), 1, 2)", [1.0, 1.0]),
    ],
)
def test_only_the_branch_taken_can_invalidate(source, scores):
    assert run(source, x=[0.0, 1.0]) == scores


@pytest.mark.parametrize(
    ("source", "score"),
    [
        ("2^3^2", 512), ("-2^2", -4), ("2^-1", 0.5), ("2**3", 8), ("7 - 2 - 1", 4),
        ("8 / 4 / 2", 1), ("1e-3 * 5", 0.005), ("3 * -1", -3), ("--3", 3), ("log1p(0)", 0),
        ("log(exp(2))", 2),
        ("sqrt(9)", 3), ("abs(-3)", 3), ("clip(5, 0, 3)", 3), ("clip(-5, 0, 3)", 0),
        ("clip(2, 0, 3)", 2), ("sigmoid(0)", 0.5), ("sigmoid(-1000)", 0), ("sigmoid(1000)", 1),
        ("tanh(0)", 0), ("min(3, 1, 2)", 1), ("max(3, 1)", 3), ("saturate(30, 30)", 0.5),
        ("saturate(0, 5)", 0), ("decay(0, 7)", 1), ("decay(14, 7)", 0.25), ("decay(-7, 7)", 2),
        ("piecewise(5, 0, 0, 10, 1)", 0.5), ("piecewise(-1, 0, 3, 10, 1)", 3),
        ("piecewise(11, 0, 3, 10, 1)", 1), ("piecewise(10, 0, 3, 10, 1, 20, 5)", 1),
        ("piecewise(15, -5, 3, 10, 1, 20, 5)", 3),
        ("if(1 < 2, 3, 4)", 3), ("if(1 > 2, 3, 4)", 4), ("if(1 <= 1, 3, 4)", 3),
        ("if(1 >= 2, 3, 4)", 4), ("if(1 == 1, 3, 4)", 3), ("if(1 != 1, 3, 4)", 4),
        ("if(not 1 < 2, 3, 4)", 4), ("if(1 < 2 and 2 < 1, 3, 4)", 4),
        ("if(1 < 2 or 2 < 1, 3, 4)", 3),
        ("if(1 < 2 or 1 < 2 and 2 < 1, 3, 4)", 3),
    ],
)  # fmt: skip
def test_arithmetic_is_that_of_mathematics(source, score):
    assert run(source) == [pytest.approx(score, rel=1e-15)]


@pytest.mark.parametrize(
    ("source", "scores"),
    [
        ("rank(x)", [3, 1, 4, 2]),
        ("rank(-x)", [1, 4, 2, 3]),
        ("rank(1)", [1, 2, 3, 4]),
        ("rank_in", [1, 2, 3, 4]),
        ("minmax(x)", [0, 1, 0, 0.5]),
        ("minmax(5)", [0, 0, 0, 0]),
        ("zscore(5)", [0, 0, 0, 0]),
        ("zscore(0.1 + 0 * x)", [0, 0, 0, 0]),
        ("zscore(x)", [(v - 1.75) / math.sqrt(0.6875) for v in (1, 3, 1, 2)]),
        ("rrf(x, 60)", [1 / 63, 1 / 61, 1 / 64, 1 / 62]),
        ("1 / (rank(x) ^ 0.5 + 2)", [1 / (r**0.5 + 2) for r in (3, 1, 4, 2)]),
    ],
)
def test_functions_across_the_candidate_set(source, scores):
    assert run(source, x=[1, 3, 1, 2]) == pytest.approx(scores, rel=1e-14)


def test_a_single_candidate_has_rank_1_and_no_spread():
    assert run("rank(x) + minmax(x) + zscore(x)", x=[0.3]) == [1.0]


def test_functions_across_the_set_see_valid_candidates_only():
    # The second candidate is invalid by another term: the third is then the largest of two.
    xs, ys = [0.1, 0.9, 0.5], [1.0, 0.0, 1.0]
    assert run("rank(x) + 0 / y", x=xs, y=ys) == [2.0, None, 1.0]
    assert run("minmax(x) + 0 / y", x=xs, y=ys) == [0.0, None, 1.0]
    assert run("zscore(x) + 0 / y", x=xs, y=ys) == pytest.approx([-1.0, None, 1.0])
    assert run("rrf(x, 1) + 0 / y", x=xs, y=ys) == [1 / 3, None, 1 / 2]


def test_leaving_the_set_goes_on_until_nobody_else_leaves():
    # The largest has rank 1 and divides by zero; then the next largest has rank 1 …
    assert run("1 / (rank(x) - 1)", x=[0.1, 0.9, 0.5]) == [None, None, None]
    assert run("if(x > 0.4, 1 / (rank(x) - 1), rank(x))", x=[0.1, 0.9, 0.5, 0.2]) == [
        2,
        None,
        None,
        1,
    ]


def test_a_cascade_ends_after_eight_rounds():
    # Each round the smallest of those left is 0, which has no logarithm; the ninth smallest stays.
    scores = run("log(minmax(x))", x=[float(x) for x in range(20)])
    assert [score is None for score in scores] == [True] * 8 + [False] * 12
    assert scores[-1] == 0.0


def test_a_branch_not_taken_keeps_its_candidate_in_the_set():
    # 0 has no logarithm, and no need of one; ranks are those of the two that have.
    assert run("if(x > 0, rank(log(x)), 9)", x=[0.0, 1.0, 2.0]) == [9.0, 2.0, 1.0]


def test_zscores_survive_values_too_small_or_large_to_square():
    for scale in (1e-200, 1e200):
        assert run("zscore(x)", x=[0.0, scale]) == [-1.0, 1.0]
    assert run("minmax(x)", x=[-1e308, 1e308]) == [None, None]


positive = st.floats(1e-3, 1e3)


@given(st.lists(positive, min_size=2, max_size=20, unique=True), positive)
def test_duration_curves_are_monotone_and_bounded(xs, k):
    xs = sorted(xs)
    curves = {
        f"saturate(x, {k!r})": (1, 0, 1),
        f"decay(x, {k!r})": (-1, 0, 1),
        "piecewise(x, 1, 0, 10, 5, 100, 6)": (1, 0, 6),
    }
    for source, (direction, low, high) in curves.items():
        values = np.array(run(source, x=xs))
        assert (np.diff(values) * direction >= -1e-14).all()  # monotone but for rounding
        assert ((values >= low) & (values <= high)).all()


def test_every_function_says_how_it_is_written():
    for name, function in FUNCTIONS.items():
        assert name.removesuffix("x") in function.usage
        assert function.least >= 1
