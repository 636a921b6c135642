"""Structured forms and texts are two ways to write a formula: each turns into the other again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.experiment.document import FormulaSpec
from service.experiment.structure import structured, textual
from tests.experiment.packages import PLAN

HEADS = ("ctr", "ctcvr", "vcr", "like")
numbers = st.one_of(st.sampled_from((0.0, 1.0, -1.0, 0.5)), st.floats(-50, 50))
scales = numbers.filter(lambda x: x != 0)
factors = st.one_of(
    numbers, st.fixed_dictionaries({"weight": numbers, "bias": numbers, "scale": scales})
)
terms = st.one_of(
    numbers, st.fixed_dictionaries({"weight": numbers}, optional={"max": st.floats(60, 90)})
)
lengths = st.fixed_dictionaries(
    {
        "fn": st.sampled_from(("linear", "log1p", "sqrt", "sigmoid", "tanh", "saturate", "decay")),
        "scale_s": st.floats(0.01, 5000),
        "combine": st.sampled_from(("*", "/")),
    }
)
heads = st.lists(st.sampled_from(HEADS), min_size=1, unique=True)
specs = st.builds(
    lambda form, names, chosen, length, params: {
        form: dict(zip(names, chosen, strict=False)),
        **({"videolen": length} if length else {}),
        "params": params,
    },
    st.just("multiplicative"),
    heads,
    st.lists(factors, min_size=4, max_size=4),
    st.one_of(st.none(), lengths),
    st.sampled_from(({}, {"k": {"value": 1, "min": 0, "max": 2}})),
) | st.builds(
    lambda names, chosen, length: {
        "additive": dict(zip(names, chosen, strict=False)),
        **({"videolen": length} if length else {}),
    },
    heads,
    st.lists(terms, min_size=4, max_size=4),
    st.one_of(st.none(), lengths),
)


def spec(document) -> FormulaSpec:
    return FormulaSpec.model_validate(document)


@given(specs)
def test_a_structured_form_comes_back_from_its_text(document):
    given = spec(document)
    assert structured(textual(given)) == given


@pytest.mark.parametrize("name", ["power", "sum"])
def test_the_structured_forms_of_a_plan_come_back(name):
    given = spec(PLAN["formulas"][name])
    text = textual(given)
    assert text.score is not None
    assert structured(text) == given


WEIGHTS = {f"w_{h}": {"value": 0.3, "min": 0, "max": 2} for h in ("ctr", "vcr")}


@pytest.mark.parametrize(
    "score",
    [
        "ctr^w_ctr*(1+vcr)^w_vcr # by hand",
        "(ctr ^ w_ctr) * (0.5 - 2 * vcr) ^ w_vcr",
        "w_ctr * ctr + w_vcr * vcr",
        "(w_ctr * ctr + w_vcr * vcr) / f(videolen_s)",
    ],
)
def test_a_text_of_that_shape_is_recognised_however_it_is_spaced(score):
    given = {"score": score, "params": WEIGHTS, "let": {}}
    if "f(" in score:
        given["let"] = {"f(x)": "log1p( x/30 )"}
    found = structured(spec(given))
    assert found is not None
    assert found.score is None
    assert found.params == {}


@pytest.mark.parametrize(
    "score",
    [
        "ctr^w_ctr * vcr",
        "ctr^w_vcr * vcr^w_ctr",
        "ctr^w_ctr * ctr^w_ctr",
        "w_ctr * ctr - w_vcr * vcr",
        "ctr * w_ctr + vcr * w_vcr",
        "(ctr + vcr)^w_ctr",
        "ctr^0.5",
        "rank(ctr)^w_ctr",
        "w_ctr * ctr * f(videolen_s)",
        "ctr +",
    ],
)
def test_a_text_that_says_more_stays_text(score):
    assert structured(spec({"score": score, "params": WEIGHTS, "let": {"f(x)": "x ^ 2"}})) is None


def test_a_let_that_only_looks_like_a_curve_stays_text():
    for body in ("log1p(x / -30)", "log1p(30 / x)", "log1p(x / 30) + 30"):
        given = {"score": "ctr^w_ctr / f(videolen_s)", "params": WEIGHTS, "let": {"f(x)": body}}
        assert structured(spec(given)) is None
