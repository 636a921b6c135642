import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from service.fusion import compile_formula
from service.fusion.explain import decompose
from service.fusion.parser import parse
from service.fusion.tree import UNARY_MINUS, Call, Name, Number
from tests.fusion import trees
from tests.fusion.reference import Reference
from tests.fusion.test_compiler import LIMITS, cases, compile_case

HEADS = ("ctr", "vcr", "like", "report")


def explain(source, lets=None, params=None, **heads):
    formula = compile_formula(source, lets=lets, params=params, heads=HEADS)
    columns = {name: np.array([value]) for name, value in heads.items()}
    (explanation,) = formula.explain(columns, rows=1)
    return explanation


@pytest.mark.parametrize(
    ("source", "mode", "terms"),
    [
        ("a * b ^ 2 / (c * d)", "product", ["a", "b ^ 2", "1 / c", "1 / d"]),
        ("a / (b / c)", "product", ["a", "1 / b", "c"]),
        ("1 / (b + c)", "product", ["1 / (b + c)"]),
        ("-(a * b)", "product", ["-1", "a", "b"]),
        ("-a * -b", "product", ["a", "b"]),
        ("a ^ 2", "product", ["a ^ 2"]),
        ("1 * 1", "product", ["1"]),
        ("a * (1 + b)", "product", ["a", "1 + b"]),
        ("a + 2 * b - c", "sum", ["a", "2 * b", "-c"]),
        ("a - (b - c)", "sum", ["a", "-b", "c"]),
        ("a - b * c", "sum", ["a", "-(b * c)"]),
        ("-(a + b)", "sum", ["-a", "-b"]),
        ("if(a < b, c, d)", "single", ["if(a < b, c, d)"]),
        ("-a", "single", ["-a"]),
        ("7", "single", ["7"]),
    ],
)
def test_a_score_is_taken_apart_at_its_top(source, mode, terms):
    found, nodes = decompose(parse(source))
    assert (found, [str(node) for node in nodes]) == (mode, terms)
    assert [parse(str(node)) for node in nodes] == nodes


def test_a_product_has_values_that_multiply_and_logs_that_add_up():
    told = explain(
        "ctr^a * (1 + vcr)^b / f(like)",
        lets={"f(x)": "1 + log1p(x)"},
        params={"a": 0.3, "b": 1.2},
        ctr=0.2,
        vcr=0.7,
        like=0.1,
    )
    assert told.mode == "product"
    assert [term.text for term in told.terms] == ["ctr ^ a", "(1 + vcr) ^ b", "1 / f(like)"]
    assert math.prod(term.value for term in told.terms) == pytest.approx(told.score, rel=1e-12)
    logs = sum(term.contribution for term in told.terms)
    assert logs == pytest.approx(math.log(told.score), rel=1e-12)
    assert told.terms[0].contribution == pytest.approx(0.3 * math.log(0.2), rel=1e-12)
    assert told.note == ""


def test_a_sum_has_signed_values_that_add_up():
    told = explain("ctr + 4 * like - 369 * report", ctr=0.5, like=0.1, report=0.01)
    assert told.mode == "sum"
    assert [(t.text, pytest.approx(t.value)) for t in told.terms] == [
        ("ctr", 0.5), ("4 * like", 0.4), ("-(369 * report)", -3.69),
    ]  # fmt: skip
    assert [t.contribution for t in told.terms] == [t.value for t in told.terms]
    assert sum(t.value for t in told.terms) == pytest.approx(told.score, rel=1e-12)


@pytest.mark.parametrize(("ctr", "score"), [(0.0, 0.0), (-0.5, -0.25)])
def test_a_product_that_is_not_positive_has_values_only_and_says_so(ctr, score):
    told = explain("ctr * vcr", ctr=ctr, vcr=0.5)
    assert (told.mode, told.score) == ("product", score)
    assert [(t.value, t.contribution) for t in told.terms] == [(ctr, None), (0.5, None)]
    assert told.note == f"the score {score:g} is not positive: its factors have no log shares"


def test_two_negative_factors_of_a_positive_score_have_shares_of_their_size():
    told = explain("(ctr - 1) * (vcr - 1)", ctr=0.5, vcr=0.5)
    assert [t.value for t in told.terms] == [-0.5, -0.5]
    assert sum(t.contribution for t in told.terms) == pytest.approx(math.log(0.25))


def test_an_invalid_candidate_says_which_term_is_not_finite():
    told = explain("ctr * log(vcr)", ctr=0.5, vcr=0.0)
    assert (told.mode, told.score) == ("product", None)
    assert [(t.value, t.contribution) for t in told.terms] == [(0.5, None), (None, None)]
    assert told.note == "invalid: not finite: log(vcr)"
    assert explain("(ctr * 1e200) * (vcr * 1e200)", ctr=1.0, vcr=1.0).note == (
        "invalid: the product overflows"
    )


def test_a_score_that_is_the_name_of_a_let_is_explained_by_it():
    lets = {"final": "base + boost", "base": "ctr * vcr", "boost": "like * 2"}
    told = explain("final", lets=lets, ctr=0.5, vcr=0.5, like=0.1)
    assert [(t.text, t.value) for t in told.terms] == [("base", 0.25), ("boost", 0.2)]


def test_a_single_term_is_the_score():
    told = explain("max(ctr, vcr)", ctr=0.5, vcr=0.7)
    assert (told.mode, told.score, told.note) == ("single", 0.7, "")
    assert [(t.text, t.value, t.contribution) for t in told.terms] == [("max(ctr, vcr)", 0.7, 0.7)]


def test_a_tiny_sum_is_not_said_to_be_what_its_terms_do_not_add_up_to():
    # 1e-12 is lost beside 1e5: the score is 0, the terms say 1e-12.
    told = explain("1e5 + ctr - 1e5", ctr=1e-12)
    assert (told.mode, told.score) == ("single", 0.0)


def test_terms_that_rounding_keeps_from_recomposing_are_not_shown():
    # 1 / 1e-310 is too large for float64, 1e-310 / 1e-310 is not.
    told = explain("ctr / vcr", ctr=1e-310, vcr=1e-310)
    assert (told.mode, [t.value for t in told.terms]) == ("single", [1.0])


def test_a_product_too_small_for_its_digits_is_not_taken_apart():
    # 3e-162 * 5e-162 is 1.5e-323; the nearest number that float64 has is 1 % off.
    told = explain("ctr * vcr", ctr=3e-162, vcr=5.2e-162)
    assert told.mode == "single"
    assert told.terms[0].contribution == told.score


def test_functions_across_the_set_are_explained_as_they_were_scored():
    formula = compile_formula("2 * rank(ctr) + 0 / vcr", heads=HEADS)
    told = formula.explain({"ctr": [0.1, 0.9, 0.5], "vcr": [1.0, 0.0, 1.0]}, rows=3)
    assert [e.score for e in told] == [4.0, None, 2.0]
    assert told[0].terms[0].value == 4.0


@LIMITS
@given(cases())
def test_explanations_recompose_to_the_scores_of_random_formulas(case):
    tree, reference = case
    formula = compile_case(tree, reference)
    columns = {name: np.array(values) for name, values in reference.columns.items()}
    scores = formula(columns, reference.scalars, rows=reference.rows)
    told = formula.explain(columns, reference.scalars, rows=reference.rows)
    for explanation, value, valid in zip(told, scores.values, scores.valid, strict=True):
        assert (explanation.score == value) if valid else (explanation.score is None)
        if not valid:
            assert explanation.note.startswith("invalid: ")
            continue
        values = [term.value for term in explanation.terms]
        whole = math.prod(values) if explanation.mode == "product" else sum(values)
        assert whole == pytest.approx(value, rel=1e-6, abs=1e-6)
        shares = [term.contribution for term in explanation.terms]
        if explanation.mode == "product" and value > 0:
            assert sum(shares) == pytest.approx(math.log(value), rel=1e-6, abs=1e-6)
        elif explanation.mode == "product":
            assert shares == [None] * len(shares)
        else:
            assert shares == values


_ROWS = 6
_PHASES = (Phase.generate, Phase.shrink)
_INNER = trees.numbers(trees.GLOBALS, depth=2)
_PLACES = (0.0, 0.5, 1.0, 7.0, 30.0)


def _chain(signs, part):
    """2 to 5 parts joined by signs, grouped to the left or to the right."""

    def joined(drawn):
        first, rest, to_the_left = drawn
        tree = first
        for sign, node in rest:
            tree = Call(sign, (tree, node) if to_the_left else (node, tree))
        return tree

    rest = st.lists(st.tuples(st.sampled_from(signs), part), min_size=1, max_size=4)
    return st.tuples(part, rest, st.booleans()).map(joined)


def _power():
    weights = st.sampled_from(("a", "b")).map(Name) | st.sampled_from((0.3, 1.5, 2.0)).map(Number)
    bases = _INNER | st.sampled_from(trees.HEADS).map(Name)
    return st.tuples(bases, weights).map(lambda pair: Call("^", pair))


def _across():
    names = st.sampled_from(("rank", "minmax", "zscore"))
    return st.tuples(names, _INNER).map(lambda call: Call(call[0], (call[1],))) | _INNER.map(
        lambda x: Call("rrf", (x, Number(60.0)))
    )


def _piecewise():
    def built(drawn):
        x, places, heights = drawn
        knots = [v for point in zip(sorted(places), heights, strict=False) for v in point]
        return Call("piecewise", (x, *map(Number, knots)))

    points = st.lists(st.sampled_from(_PLACES), min_size=2, max_size=4, unique=True)
    heights = st.lists(st.floats(0, 3), min_size=4, max_size=4)
    return st.tuples(_INNER, points, heights).map(built)


_PRODUCT, _SUM = _chain(("*", "/"), _INNER | _power()), _chain(("+", "-"), _INNER)
_PART = st.one_of(_PRODUCT, _SUM, _power(), _across(), _piecewise())
SHAPES = {
    "products": _PRODUCT,
    "sums": _SUM,
    "sums of products": _chain(("+", "-"), _PRODUCT),
    "products of sums": _chain(("*", "/"), _SUM),
    "nested": _chain(("*", "/", "+", "-", "^"), _PART),
    "negated": (_PRODUCT | _SUM).map(lambda x: Call(UNARY_MINUS, (x,))),
    "set functions": _chain(("*", "+", "-"), _across() | _INNER),
    "piecewise": _chain(("*", "/", "+"), _piecewise() | _power()),
}


def check_shape(shape, formulas):
    """Explain at least so many different formulas of a shape, and check what recomposes."""
    seen: dict[str, Counter] = {}

    @seed(0)
    @settings(LIMITS, max_examples=3 * formulas // 2, database=None, phases=_PHASES)
    @given(SHAPES[shape], st.randoms(use_true_random=False))
    def check(tree, random):
        columns = {
            name: [random.random() for _ in range(_ROWS)]
            for name in (*trees.HEADS, *trees.ATTRIBUTES)
        }
        scalars = {name: float(random.randrange(24)) for name in trees.SCALARS}
        params = {name: 2 * random.random() for name in trees.PARAMS}
        formula = compile_case(tree, Reference(columns, _ROWS, scalars, params))
        arrays = {name: np.array(values) for name, values in columns.items()}
        scores = formula(arrays, scalars, rows=_ROWS)
        told = formula.explain(arrays, scalars, rows=_ROWS)
        modes = seen.setdefault(str(tree), Counter())
        for explanation, value, valid in zip(told, scores.values, scores.valid, strict=True):
            if not valid:
                continue
            assert explanation.score == value
            shares = [term.contribution for term in explanation.terms]
            modes[explanation.mode] += 1
            if explanation.mode != "product":
                assert math.isclose(math.fsum(shares), value, rel_tol=1e-6)
            elif value > 0:
                assert abs(math.fsum(shares) - math.log(value)) <= 1e-6
            else:
                factors = math.prod(term.value for term in explanation.terms)
                assert math.isclose(factors, value, rel_tol=1e-6)
                assert shares == [None] * len(shares)

    check()
    explained = [modes for modes in seen.values() if modes]
    assert len(seen) >= formulas
    assert len(explained) >= 0.5 * formulas
    assert sum(modes.keys() != {"single"} for modes in explained) >= 0.6 * len(explained)


@pytest.mark.parametrize("shape", SHAPES)
def test_contributions_recompose_to_the_scores_of_random_formulas_of_every_shape(shape):
    check_shape(shape, 125)  # 1,000 together


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("shape", SHAPES)
def test_contributions_recompose_to_the_scores_of_1000_random_formulas_of_each_shape(shape):
    check_shape(shape, 1000)
