"""A formula of a plan: read, compiled as serving compiles it, written back as a draft."""

import json

import pytest

from service.experiment.plan import parse_plan
from tests.training.tune.worlds import plan_file
from training.tune.errors import TuneError
from training.tune.planned import PlannedFormula

SUM = {
    "additive": {"ctr": 1.0, "vtr": {"weight": 0.5, "min": 0, "max": 3}},
    "videolen": {"fn": "log1p", "scale_s": 30, "combine": "/"},
}
POWER = {"multiplicative": {"ctr": 0.3, "vtr": {"weight": 1.2, "bias": 1.0, "min": 0, "max": 3}}}


@pytest.fixture
def plan(tmp_path):
    return plan_file(tmp_path, sum=SUM, power=POWER)


def test_the_default_formula_is_read_unless_another_is_named(plan):
    assert PlannedFormula.read(plan, None).name == "base"
    assert PlannedFormula.read(plan, "sum").values == {"w_ctr": 1.0, "w_vtr": 0.5}
    bounds = PlannedFormula.read(plan, "sum").searched()
    assert (bounds["w_ctr"].min, bounds["w_ctr"].max) == (-100, 100)
    assert (bounds["w_vtr"].min, bounds["w_vtr"].max) == (0, 3)
    assert list(PlannedFormula.read(plan, "sum").searched(["w_vtr"])) == ["w_vtr"]


def test_a_compiled_formula_has_the_given_params_and_else_the_plans(plan):
    base = PlannedFormula.read(plan, "base")
    columns = {"ctr": [0.25], "vtr": [0.5]}
    formula = base.compile({"a": 0.5}, heads=["ctr", "vtr"], attributes=[])
    assert formula(columns, rows=1).values == [0.25]


def test_a_draft_is_a_plan_that_differs_in_the_found_values_alone(plan):
    before = json.loads(plan.read_text())
    draft = PlannedFormula.read(plan, "base").draft({"a": 0.5, "b": 1.75})
    params = parse_plan(draft).formulas["base"].params
    assert (params["a"].value, params["b"].value) == (0.5, 1.75)
    draft["formulas"]["base"]["params"]["a"]["value"] = 1.0
    draft["formulas"]["base"]["params"]["b"]["value"] = 1.0
    assert draft == before
    for name in ("sum", "power"):
        planned = PlannedFormula.read(plan, name)
        draft = planned.draft({"w_ctr": 0.7, "w_vtr": 0.9})
        form = "additive" if name == "sum" else "multiplicative"
        terms = draft["formulas"][name][form]
        assert terms["ctr"] == 0.7
        assert terms["vtr"] == {**before["formulas"][name][form]["vtr"], "weight": 0.9}
        parse_plan(draft)


def test_what_cannot_be_tuned_is_refused_in_a_sentence(plan, tmp_path):
    with pytest.raises(TuneError, match=r"no formula 'summ'; did you mean 'sum'\? \(it has: base"):
        PlannedFormula.read(plan, "summ")
    with pytest.raises(TuneError, match=r"formula 'base' has no param 'c' \(it has: a, b\)"):
        PlannedFormula.read(plan, "base").searched(["c"])
    fixed = plan_file(tmp_path, "ctr^a", {"a": {"value": 1.0, "min": 1, "max": 1}})
    with pytest.raises(TuneError, match="no param with room between its bounds"):
        PlannedFormula.read(fixed, "base").searched()
    (tmp_path / "bad.json").write_text('{"format": 1}')
    with pytest.raises(TuneError, match=r"bad\.json is no plan: .*'scene' is missing"):
        PlannedFormula.read(tmp_path / "bad.json", None)
