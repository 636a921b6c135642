import copy

import pytest

from service.api.plan_edit import change_params, named_alone
from service.errors import InvalidRequest

PLAN = {
    "scene": "feed",
    "formulas": {
        "base": {"score": "ctr^a * vcr^b", "params": {
            "a": {"value": 0.3, "min": 0, "max": 2}, "b": {"value": 1.2, "min": 0, "max": 5}}},
        "boost": {"score": "ctr + b", "params": {"b": {"value": 2, "min": 0, "max": 5}}},
        "power": {"multiplicative": {"ctr": 0.3, "vcr": {"weight": 1.2, "bias": 1.0}}},
        "sum": {"additive": {"ctr": 1.0}},
    },
    "layers": [{"experiments": [{"arms": [{"set": {"params": {"b": 1.6}}}]}]}],
}  # fmt: skip


def formulas(params):
    return change_params(PLAN, params)["formulas"]


def test_a_new_value_goes_into_every_formula_that_has_the_param():
    changed = formulas({"b": 1.6})
    assert changed["base"]["params"]["b"] == {"value": 1.6, "min": 0, "max": 5}
    assert changed["boost"]["params"]["b"] == {"value": 1.6, "min": 0, "max": 5}
    assert changed["base"]["params"]["a"] == PLAN["formulas"]["base"]["params"]["a"]


def test_the_weights_of_the_structured_forms_are_params():
    changed = formulas({"w_ctr": 0.7, "w_vcr": 2})
    assert changed["power"]["multiplicative"] == {"ctr": 0.7, "vcr": {"weight": 2, "bias": 1.0}}
    assert changed["sum"]["additive"] == {"ctr": 0.7}


def test_an_object_is_merged_into_the_declaration():
    changed = formulas({"a": {"max": 3}, "w_ctr": {"value": 5, "max": 9}})
    assert changed["base"]["params"]["a"] == {"value": 0.3, "min": 0, "max": 3}
    assert changed["power"]["multiplicative"]["ctr"] == {"weight": 5, "max": 9}


def test_bounds_alone_keep_a_bare_weight():
    changed = formulas({"w_ctr": {"max": 9}})
    assert changed["sum"]["additive"]["ctr"] == {"weight": 1.0, "max": 9}


def test_arms_and_the_given_document_are_left_alone():
    before = copy.deepcopy(PLAN)
    assert change_params(PLAN, {"b": 2})["layers"] == before["layers"]
    assert before == PLAN


def test_an_unknown_param_is_refused_with_the_nearest_name():
    with pytest.raises(
        InvalidRequest, match="no formula has a param 'w_ctrr'; did you mean 'w_ctr'"
    ) as e:
        formulas({"w_ctrr": 1})
    assert e.value.faults[0].pointer == "/params/w_ctrr"
    with pytest.raises(
        InvalidRequest, match=r"no formula has a param 'zz' \(known: a, b, w_ctr, w_vcr\)"
    ):
        formulas({"zz": 1})


def test_a_param_may_be_named_under_the_one_formula_that_has_it():
    assert named_alone(PLAN, "base.a") == "a"
    assert named_alone(PLAN, "sum.w_like") == "sum.w_like"  # not declared: refused by name later
    assert named_alone(PLAN, "a") == "a"
    assert named_alone(PLAN, "boost.a") == "boost.a"
    with pytest.raises(InvalidRequest) as refusal:
        named_alone(PLAN, "boost.b")
    assert refusal.value.detail == (
        "boost.b: 'b' is one param of formulas base, boost; write b=… to change it in all of them"
    )
