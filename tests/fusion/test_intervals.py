"""Interval analysis: sound on random formulas, and right about the doubts people would have."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.fusion import FormulaError, compile_formula
from service.fusion.intervals import Survey, survey
from service.fusion.range_rules import MOST_CANDIDATES, range_of
from service.fusion.ranges import Range
from service.fusion.tree import Node
from tests.fusion.trees import ATTRIBUTES, HEADS, PARAMS, SCALARS, numbers

ROWS = 40
UNIT = Range(0.0, 1.0)
INPUTS = {
    **dict.fromkeys(HEADS, UNIT),
    "videolen_s": Range(1.0, 600.0),
    "context.hour": Range(0.0, 23.0),
    "user.age": Range(18.0, 80.0),
}
PARAM_RANGES = {"a": Range(0.0, 2.0), "b": Range(0.5, 5.0)}

ends = st.one_of(
    st.sampled_from((0.0, 1.0, -1.0, 0.5, 2.0, 700.0, 1e-300, 1e308, -1e308)),
    st.floats(-100, 100),
)
ranges = st.tuples(ends, ends).map(lambda pair: Range(min(pair), max(pair)))


def look(score: str, lets=None, **changes: Range) -> Survey:
    """A survey over ordinary ranges; the params are a = 0.3 and b = 1.2."""
    inputs = {**INPUTS, **changes}
    params = {"a": Range(0.3, 0.3), "b": Range(1.2, 1.2)}
    compile_formula(
        score, lets=lets or {}, params={"a": 0.3, "b": 1.2}, heads=HEADS,
        attributes=ATTRIBUTES, scalars=SCALARS,
    )  # fmt: skip
    return survey(
        score, lets=lets or {}, inputs=inputs, params=params, bounds=PARAM_RANGES,
        heads=frozenset(HEADS),
    )  # fmt: skip


def told(found: Survey) -> list[tuple[str, str]]:
    """(kind, the text under the caret) of each doubt."""
    return [
        (d.kind, d.place.source[d.place.span[0] : d.place.span[1]].strip())
        for d in found.doubts
        if d.kind != "remote"
    ]


@settings(max_examples=600, deadline=None)
@given(
    tree=numbers(functions=("f",), depth=3),
    body=numbers(names=("x", "ctr", "vcr", "a"), depth=2),
    chosen=st.fixed_dictionaries(dict.fromkeys((*HEADS, *ATTRIBUTES, *SCALARS), ranges)),
    values=st.fixed_dictionaries(dict.fromkeys(PARAMS, ends)),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_range_holds_every_score_and_what_is_not_doubted_is_valid(
    tree: Node, body: Node, chosen, values, seed
):
    lets, score = {"f(x)": str(body)}, str(tree)
    try:
        formula = compile_formula(
            score, lets=lets, params=values, heads=HEADS, attributes=ATTRIBUTES, scalars=SCALARS
        )
    except FormulaError:
        assume(False)
    points = {name: Range(value, value) for name, value in values.items()}
    found = survey(
        score, lets=lets, inputs=chosen, params=points, bounds=points, heads=frozenset(HEADS)
    )
    rng = np.random.default_rng(seed)
    columns = {name: _sample(rng, chosen[name]) for name in (*HEADS, *ATTRIBUTES)}
    scalars = {name: float(_sample(rng, chosen[name])[0]) for name in SCALARS}
    scores = formula(columns, scalars, rows=ROWS)
    for value in scores.values[scores.valid]:
        assert found.range.holds(value), (score, str(body), value, found.range)
    if not any(doubt.kind in {"invalid", "remote"} for doubt in found.doubts):
        assert scores.valid.all(), (score, str(body))


def _sample(rng: np.random.Generator, within: Range):
    """Values of a range: its ends, 0 when it is inside, and what lies between."""
    part = rng.random(ROWS)
    values = within.low * (1 - part) + within.high * part
    values[rng.random(ROWS) < 0.2] = within.low
    values[rng.random(ROWS) < 0.2] = within.high
    if within.holds(0.0):
        values[rng.random(ROWS) < 0.2] = 0.0
    return np.clip(values, within.low, within.high)


@pytest.mark.parametrize(
    ("score", "doubts"),
    [
        ("ctr^a * (1 + vcr)^b / (1 + log1p(videolen_s / 30))", []),
        ("ctr / vcr", [("invalid", "ctr / vcr")]),
        ("ctr / (vcr + 0.01)", []),
        ("if(vcr > 0, ctr / vcr, 0)", []),
        ("if(not vcr == 0, ctr / vcr, 0)", []),
        ("if(ctr + vcr > 0, ctr / (ctr + vcr), 0)", []),
        ("if(vcr >= 0, ctr / vcr, 0)", [("invalid", "ctr / vcr"), ("branch", "0")]),
        ("if(vcr > 0.1 and ctr / vcr > 2, 2, 1) + like", []),
        ("if(vcr <= 0 or like / vcr > 2, 2, 1) + like", []),
        ("log(ctr)", [("invalid", "log(ctr)")]),
        ("log(max(ctr, 1e-6))", []),
        ("log1p(-ctr)", [("invalid", "log1p(-ctr)")]),
        ("sqrt(ctr - vcr)", [("invalid", "sqrt(ctr - vcr)")]),
        ("(ctr - 0.5) ^ 0.5", [("invalid", "(ctr - 0.5) ^ 0.5")]),
        ("(ctr - 0.5) ^ 2", []),
        ("ctr ^ -1", [("invalid", "ctr ^ -1")]),
        ("exp(videolen_s * 2)", [("invalid", "exp(videolen_s * 2)")]),
        ("exp(videolen_s)", []),
        ("decay(videolen_s, ctr)", [("invalid", "decay(videolen_s, ctr)")]),
        ("ctr + 0 * vcr", [("constant", "0 * vcr")]),
        ("ctr + clip(vcr, 2, 3)", [("constant", "clip(vcr, 2, 3)")]),
        ("ctr * sigmoid(videolen_s + 100)", [("constant", "sigmoid(videolen_s + 100)")]),
        ("max(ctr, videolen_s + 1)", [("constant", "ctr")]),
        ("max(0, ctr) + min(1, vcr)", []),
        ("if(vcr > 2, like, ctr)", [("branch", "like")]),
        ("if(ctr > 0.5 and vcr > 2, like, ctr)", [("branch", "like")]),
        ("ctr + vcr ^ 0", [("constant", "vcr ^ 0")]),
        ("ctr - ctr + vcr", [("constant", "ctr - ctr")]),
        ("b * ctr * vcr", [("idle", "b")]),
        ("ctr + a * vcr + b", [("idle", "b")]),
        ("if(context.hour > 20, b, 1) * ctr", [("idle", "if(context.hour > 20, b, 1)")]),
        ("100 * ctr", []),
        ("a * ctr", []),
        ("ctr * (vcr - 0.1)", [("sign", "(vcr - 0.1)")]),
        ("ctr * (videolen_s - 1)", [("sign", "(videolen_s - 1)")]),
        ("-ctr", []),
        ("b", [("constant", "b")]),
        ("context.hour", [("constant", "context.hour")]),
        ("rank_in", []),
        ("rrf(ctr, -5) + ctr", [("invalid", "rrf(ctr, -5)")]),
        ("rrf(ctr, 60)", []),
        ("if(ctr == 1, minmax(ctr), vcr)", []),
    ],
)
def test_doubts_are_those_a_careful_reader_would_have(score, doubts):
    assert told(look(score)) == doubts


def test_a_doubt_inside_a_let_stands_in_the_text_of_the_let():
    found = look("ctr * f(videolen_s)", {"f(x)": "1 /\n (x - 30)"})
    invalid = next(d for d in found.doubts if d.kind == "invalid")
    assert (invalid.place.where, invalid.place.line, invalid.place.column) == ("let f(x)", 1, 1)
    assert invalid.message == (
        "1 / (x - 30) may divide by zero: the divisor is -29 … 570"
    )  # fmt: skip
    assert invalid.place.excerpt == "    1 /\n    ^~~"


def test_a_length_curve_that_reaches_zero_is_doubted_where_it_is_written():
    found = look("ctr * f(videolen_s)", {"f(x)": "log1p(x - 1)"})
    assert [(d.kind, d.place.where) for d in found.doubts] == [("sign", "let f(x)")]
    assert "may be 0, which makes the whole product 0: it is 0 … 6.3" in found.doubts[0].message


@pytest.mark.parametrize(
    ("score", "matter"),
    [
        ("ctr^a * vcr^b", {"a", "b"}),
        ("ctr + 0 * a + vcr * b", {"b"}),
        ("if(ctr > 3, a, b) + vcr", {"b"}),
        ("clip(a * ctr, 5, 6) + vcr ^ b", {"b"}),
        ("b * ctr + a * ctr", {"a", "b"}),
        ("b * ctr", set()),
        ("max(ctr + 9, a) + b * vcr", {"b"}),
    ],
)
def test_params_that_can_never_change_the_order_are_known(score, matter):
    assert look(score).matter == matter


def test_observed_ranges_decide():
    assert told(look("log(ctr)", ctr=Range(0.001, 0.9))) == []
    assert told(look("if(videolen_s > 900, like, ctr)")) == [("branch", "like")]
    assert told(look("if(videolen_s > 900, like, ctr)", videolen_s=Range(1, 1000))) == []


def test_a_chain_as_long_as_the_language_allows_is_surveyed():
    found = look("+".join(["ctr"] * 250))
    assert found.range.high == pytest.approx(250)
    assert math.isfinite(found.range.low)


def test_a_power_of_ranks_is_computed_in_floats() -> None:
    places = Range(1.0, MOST_CANDIDATES)
    assert range_of("^", places, places)[0].high > 1e300
