"""Warnings about formulas that compile: where they point, what ranges they rest on, once each."""

import pytest

from service.contract.heads import Head
from service.experiment.doubts import observed
from service.experiment.findings import Finding
from service.experiment.plan import parse_plan
from service.experiment.snapshot import check_plan
from service.fusion.ranges import Range
from tests.experiment.packages import ToyModels, golden, manifest, plan

ARM = "layers/0/experiments/0/arms/1/set"
HEADS = ("ctr", "ctcvr", "vcr", "like")


def warnings(*changes, models: ToyModels | None = None) -> list[Finding]:
    checked = check_plan(parse_plan(plan(*changes)), 1, models or ToyModels())
    assert checked.snapshot is not None, checked.findings
    assert {f.severity for f in checked.findings} <= {"warning"}
    return list(checked.findings)


def new(score: str, **rest) -> tuple[str, object]:
    return "formulas/new", {"score": score, **rest}


def test_an_ordinary_plan_has_no_warnings():
    assert warnings() == []


def test_a_doubt_points_into_the_text_with_a_caret():
    (found,) = warnings(new("ctr +\n like / vcr"))
    assert found.pointer == "/formulas/new/score"
    assert (found.line, found.column) == (2, 2)
    assert found.caret == "     like / vcr\n     ^~~~~~~~~~"
    assert found.message == (
        "like / vcr may divide by zero: the divisor is 0 … 1 (formula 'new', model toy/1)"
    )


def test_a_doubt_in_a_let_points_at_the_let():
    (found,) = warnings(new("ctr * g(videolen_s)", let={"g(x)": "1 / (x - 30)"}))[:1]
    assert found.pointer == "/formulas/new/let/g(x)"


def test_a_structured_form_is_surveyed_as_the_text_that_it_is():
    power = {"multiplicative": {"ctr": {"weight": 0.5, "bias": -0.01}}}
    (found,) = warnings(("formulas/new", power))
    assert found.pointer == "/formulas/new/multiplicative"
    assert "(-0.01 + ctr)^w_ctr may take a negative number to a fractional power" in found.message


def test_a_param_that_an_arm_sets_is_surveyed_with_the_value_of_the_arm():
    bounds = {"value": 1.0, "min": 0, "max": 5}
    base = ("formulas/base", {"score": "ctr / (b - vcr)", "params": {"b": {**bounds, "value": 2}}})
    assert warnings(base, (f"{ARM}/params", {"b": 3})) == []
    (found,) = warnings(base, (f"{ARM}/params", {"b": 1}))
    assert found.message == (
        "ctr / (b - vcr) may divide by zero: the divisor is 0 … 2"
        " (formula 'base', model toy/1, with params that arms set)"
    )


def test_a_let_of_an_arm_is_surveyed_where_the_arm_writes_it():
    (found,) = warnings((f"{ARM}/let", {"f(x)": "log(x - 0.5)"}), (f"{ARM}/params", {}))[:1]
    assert found.pointer == f"/{ARM}/let/f(x)"


def test_params_that_never_matter_are_named_where_they_are_declared():
    param = {"value": 1, "min": 0.5, "max": 2}
    found = warnings(new("ctr + clip(p * vcr, 7, 8)", params={"p": param, "q": param}))
    assert [f.pointer for f in found] == [
        "/formulas/new/score",
        "/formulas/new/params/p",
        "/formulas/new/params/q",
    ]
    assert found[2].message == (
        "param 'q' never matters in formula 'new': no value within its bounds changes an order"
    )


def test_a_param_that_only_a_let_of_an_arm_uses_does_matter():
    spec = {
        "score": "ctr * g(videolen_s)",
        "let": {"g(x)": "1 / x"},
        "params": {"k": {"value": 1, "min": 0.5, "max": 2}},
    }
    arm = {"let": {"g(x)": "1 / (x + k)"}}
    assert warnings(("formulas/base", spec), (ARM, arm)) == []
    (found,) = warnings(("formulas/base", spec), (ARM, {}))
    assert found.pointer == "/formulas/base/params/k"


def test_observed_quantiles_count_more_than_the_declared_range():
    described = manifest()
    heads = tuple(
        Head(**{**h.model_dump(), "quantiles": ((0.0, 0.01), (0.5, 0.2), (1.0, 0.9))})
        for h in described.heads
    )
    models = ToyModels(toy=(described.model_copy(update={"heads": heads}), golden()))
    assert len(warnings(new("ctr + log(vcr)"))) == 1
    assert warnings(new("ctr + log(vcr)"), models=models) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ctr", Range(0, 1)),
        ("videolen_s", Range(1, 600)),  # declared
        ("context.hour", Range(8, 20)),  # its vocabulary
        ("user.age", Range(2, 300)),  # ten times the golden rows, 20 to 27, and the default, 30
    ],
)
def test_ranges_come_from_the_manifest_or_the_golden_rows(name, expected):
    assert observed(manifest(), golden())[name] == expected


def test_two_models_with_the_same_doubt_give_one_warning():
    arm = {"model": "other@champion"}
    models = ToyModels(toy=(manifest(), golden()), other=(manifest("other"), golden()))
    base = ("formulas/base", {"score": "log(ctr)", "params": {}})
    found = warnings(base, (ARM, arm), models=models)
    assert [f.pointer for f in found] == ["/formulas/base/score"]
