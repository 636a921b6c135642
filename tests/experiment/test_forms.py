"""The structured forms are shorthand for text of the one formula language."""

from typing import Any

import numpy as np
import pytest

from service.experiment.document import FormulaSpec
from service.experiment.forms import FormulaText, write_out
from service.fusion import Formula, compile_formula
from tests.experiment.packages import HEADS, PLAN

VALUES = {
    "ctr": np.array([0.2, 0.5, 0.9]),
    "ctcvr": np.array([0.1, 0.2, 0.3]),
    "vcr": np.array([0.4, 0.8, 0.1]),
    "like": np.array([0.01, 0.02, 0.3]),
    "videolen_s": np.array([12.0, 30.0, 200.0]),
}


def text(spec: dict[str, Any]) -> FormulaText:
    return write_out(FormulaSpec.model_validate(spec))


def formula(written: FormulaText) -> Formula:
    return compile_formula(
        written.score,
        lets=written.let,
        params={name: param.value for name, param in written.params.items()},
        heads=HEADS,
        attributes=["videolen_s"],
    )


def score(spec: dict[str, Any]) -> Any:
    return formula(text(spec))(VALUES, rows=3).values


def test_a_text_formula_stands_as_it_is():
    base = PLAN["formulas"]["base"]
    written = text(base)
    assert (written.score, written.let) == (base["score"], base["let"])


def test_a_product_reads_as_a_person_would_write_it():
    written = text(PLAN["formulas"]["power"])
    assert written.score == "ctr^w_ctr * (1 + vcr)^w_vcr / f(videolen_s)"
    assert written.let == {"f(x)": "log1p(x / 30)"}
    assert {n: p.value for n, p in written.params.items()} == {"w_ctr": 0.3, "w_vcr": 1.2}


def test_a_sum_reads_as_a_person_would_write_it():
    assert text(PLAN["formulas"]["sum"]).score == "w_ctr * ctr + w_like * like + w_vcr * vcr"
    combined = {"additive": {"ctr": 1, "vcr": 2}, "videolen": PLAN["formulas"]["power"]["videolen"]}
    assert text(combined).score == "(w_ctr * ctr + w_vcr * vcr) / f(videolen_s)"


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        ({"weight": 2}, "vcr^w_vcr"),
        ({"weight": 2, "bias": 1}, "(1 + vcr)^w_vcr"),
        ({"weight": 2, "scale": 0.5}, "(0.5 * vcr)^w_vcr"),
        ({"weight": 2, "bias": 1, "scale": -0.5}, "(1 - 0.5 * vcr)^w_vcr"),
        ({"weight": 2, "bias": 1, "scale": -1}, "(1 - 1 * vcr)^w_vcr"),
        ({"weight": 2, "bias": 1, "scale": 0}, "(1 + 0 * vcr)^w_vcr"),
        ({"weight": 2, "bias": -0.5, "scale": 10}, "(-0.5 + 10 * vcr)^w_vcr"),
        ({"weight": 2, "scale": -2}, "(-2 * vcr)^w_vcr"),
        ({"weight": 2, "bias": 1e-9}, "(1e-09 + vcr)^w_vcr"),
    ],
)
def test_bias_and_scale_are_written_only_where_they_say_something(
    factor: dict[str, float], expected: str
):
    written = text({"multiplicative": {"vcr": factor}})
    assert written.score == expected
    base = factor.get("bias", 0) + factor.get("scale", 1) * VALUES["vcr"]
    np.testing.assert_allclose(
        score({"multiplicative": {"vcr": factor}})[base >= 0], (base**2)[base >= 0]
    )


def test_a_product_scores_what_the_design_says():
    expected = (
        VALUES["ctr"] ** 0.3 * (1 + VALUES["vcr"]) ** 1.2 / np.log1p(VALUES["videolen_s"] / 30)
    )
    np.testing.assert_allclose(score(PLAN["formulas"]["power"]), expected)


def test_a_sum_scores_what_the_design_says():
    expected = VALUES["ctr"] + 4 * VALUES["like"] + 0.5 * VALUES["vcr"]
    np.testing.assert_allclose(score(PLAN["formulas"]["sum"]), expected)


@pytest.mark.parametrize(
    ("fn", "curve"),
    [
        ("linear", lambda x: x / 20),
        ("log1p", lambda x: np.log1p(x / 20)),
        ("sqrt", lambda x: np.sqrt(x / 20)),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x / 20))),
        ("tanh", lambda x: np.tanh(x / 20)),
        ("saturate", lambda x: x / (x + 20)),
        ("decay", lambda x: 2 ** (-x / 20)),
    ],
)
@pytest.mark.parametrize("combine", ["*", "/"])
def test_every_curve_of_the_length_is_what_its_name_says(fn: str, curve: Any, combine: str):
    spec = {"additive": {"ctr": 1}, "videolen": {"fn": fn, "scale_s": 20, "combine": combine}}
    f = curve(VALUES["videolen_s"])
    expected = VALUES["ctr"] * f if combine == "*" else VALUES["ctr"] / f
    np.testing.assert_allclose(score(spec), expected)


def test_the_text_of_a_form_parses_back_to_the_same_formula():
    for name in ("power", "sum"):
        written = text(PLAN["formulas"][name])
        once = formula(written)
        again = formula(FormulaText(str(once), written.let, written.params))
        assert str(again) == str(once)
        assert again.tree == once.tree


def test_a_weight_has_wide_bounds_unless_the_plan_gives_them():
    params = text({"additive": {"ctr": 1, "like": {"weight": 2, "min": 0, "max": 4}}}).params
    assert (params["w_ctr"].min, params["w_ctr"].max) == (-100, 100)
    assert (params["w_like"].min, params["w_like"].max) == (0, 4)
