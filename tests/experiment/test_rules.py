"""The parts of a plan must agree; each rule has a plan that breaks it, and its sentence."""

import inspect
from typing import Any

import pytest

from service.experiment.errors import PlanInvalid
from service.experiment.findings import Finding
from service.experiment.plan import parse_plan
from service.experiment.rules import RESERVE_MS, agree
from service.scoring.admission import Admission
from tests.experiment.packages import plan

ARM = "layers/0/experiments/0/arms/1/set"
SECOND_LAYER = {
    "name": "model",
    "salt": "model-1",
    "experiments": [
        {
            "name": "m",
            "buckets": [[0, 9999]],
            "arms": [{"name": "on", "share": 1, "set": {"params": {"b": 2}}}],
        }
    ],
}


def errors(*changes: tuple[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(plan(*changes))
    return [(f.pointer, f.message) for f in caught.value.findings if f.severity == "error"]


def warnings(*changes: tuple[str, Any]) -> list[Finding]:
    return agree(parse_plan(plan(*changes)))


def test_the_plan_of_the_design_agrees():
    assert warnings() == []


def test_a_formula_is_text_or_one_form():
    assert errors(("formulas/empty", {"let": {}})) == [
        (
            "/formulas/empty",
            "give exactly one of score, multiplicative, additive; this formula has none of them",
        )
    ]
    both = errors(("formulas/sum/score", "ctr"))
    assert both[0][1].endswith("this formula has score and additive")
    with_length = {"fn": "log1p", "scale_s": 30, "combine": "*"}
    assert errors(("formulas/base/videolen", with_length)) == [
        ("/formulas/base/videolen", "videolen belongs to multiplicative and additive")
    ]


def test_a_weight_is_not_declared_twice():
    found = errors(("formulas/sum/params", {"w_like": {"value": 1, "min": -100, "max": 100}}))
    assert found == [
        (
            "/formulas/sum/params/w_like",
            "'w_like' is the weight of 'like' already: change it there",
        )
    ]


def test_a_value_outside_its_bounds_is_refused():
    place = "/formulas/base/params/a"
    assert errors(("formulas/base/params/a/value", 2.5)) == [
        (place, "param 'a' is 2.5, outside its bounds [0, 2]")
    ]
    assert errors(("formulas/base/params/a/min", 3)) == [(place, "param 'a' has min 3 above max 2")]
    assert errors((f"{ARM}/params/b", 5.5)) == [
        (f"/{ARM}/params/b", "param 'b' is 5.5, outside its bounds [0, 5]")
    ]
    assert errors(("formulas/sum/additive/like", 101)) == [
        ("/formulas/sum/additive/like", "param 'w_like' is 101, outside its bounds [-100, 100]")
    ]


def test_zero_is_a_value_not_an_absent_one():
    read = parse_plan(plan((f"{ARM}/params/b", 0), ("formulas/sum/additive/ctr", 0)))
    assert read.layers[0].experiments[0].arms[1].set.params == {"b": 0}
    assert read.formulas["sum"].additive["ctr"].weight == 0


def test_the_same_param_has_the_same_bounds_everywhere():
    other = {"score": "ctr * b", "params": {"b": {"value": 1, "min": 0, "max": 9}}}
    assert errors(("formulas/other", other)) == [
        (
            "/formulas/other/params/b",
            "param 'b' has bounds [0, 9] here and [0, 5] in formula 'base':"
            " the same name means the same bounds everywhere in the plan",
        )
    ]
    bounded = errors(("formulas/sum/additive/ctr", {"weight": 1, "min": 0, "max": 2}))
    assert bounded[0][0] == "/formulas/sum/additive/ctr"
    assert "bounds [0, 2] here and [-100, 100] in formula 'power'" in bounded[0][1]


def test_a_let_and_a_param_do_not_share_a_name():
    assert errors(("formulas/sum/let", {"b": "1"})) == [
        ("/formulas/sum/let/b", "'b' is a let and a param; give one of them another name")
    ]
    assert errors(("formulas/base/let", {"f(x)": "x", "f(y)": "y"})) == [
        ("/formulas/base/let/f(y)", "'f' is defined twice")
    ]


def test_a_model_reference_is_well_formed():
    assert errors(("model", "Toy!")) == [
        ("/model", "'Toy!' is no model: write name, name@alias or name/version")
    ]
    assert errors((f"{ARM}/model", "toy@"))[0][0] == f"/{ARM}/model"


def test_a_named_formula_exists():
    assert errors(("default/formula", "bas")) == [
        ("/default/formula", "there is no formula 'bas'; did you mean 'base'?")
    ]
    assert errors((f"{ARM}/formula", "nothing")) == [
        (f"/{ARM}/formula", "there is no formula 'nothing' (known: base, power, sum)")
    ]


def test_names_in_a_layer_are_unique():
    assert ("/layers", "layer 'fusion' is named 2 times") in errors(
        ("layers/1", {"name": "fusion", "salt": "x"})
    )
    experiment = {"name": "vcr-up", "buckets": [[2000, 2001]], "arms": [{"name": "a", "share": 1}]}
    assert errors(("layers/0/experiments/1", experiment)) == [
        ("/layers/0/experiments", "experiment 'vcr-up' is named 2 times")
    ]
    assert errors(("layers/0/experiments/0/arms/2", {"name": "control", "share": 1})) == [
        ("/layers/0/experiments/0/arms", "arm 'control' is named 2 times")
    ]


def test_bucket_ranges_of_a_layer_do_not_overlap():
    second = {"name": "two", "buckets": [[999, 1999]], "arms": [{"name": "a", "share": 1}]}
    assert errors(("layers/0/experiments/1", second)) == [
        (
            "/layers/0/experiments/1/buckets/0",
            "buckets [999, 1999] of 'two' overlap [0, 999] of 'vcr-up' in layer 'fusion'",
        )
    ]
    second["buckets"] = [[1000, 1999]]
    assert warnings(("layers/0/experiments/1", second)) == []
    assert errors(("layers/0/experiments/0/buckets", [[5, 4]])) == [
        ("/layers/0/experiments/0/buckets/0", "bucket range [5, 4] ends before it starts")
    ]


def test_a_long_range_hides_no_overlap_behind_a_short_one():
    found = errors(("layers/0/experiments/0/buckets", [[0, 500], [10, 20], [400, 600]]))
    assert [place for place, _ in found] == [
        "/layers/0/experiments/0/buckets/1",
        "/layers/0/experiments/0/buckets/2",
    ]


def test_some_arm_has_a_share():
    arms = [{"name": "a", "share": 0}, {"name": "b", "share": 0}]
    found = errors(("layers/0/experiments/0/arms", arms), ("force", {}))
    assert found == [("/layers/0/experiments/0/arms", "the shares of 'vcr-up' add up to 0")]


def test_two_layers_do_not_set_the_same_key():
    assert errors(("layers/1", SECOND_LAYER)) == [
        (
            "/layers/1/experiments/0/arms/0/set/params/b",
            "layer 'model' sets params b, which layer 'fusion' sets too:"
            " a user in both would have two values",
        )
    ]


@pytest.mark.parametrize(
    ("one", "other", "place"),
    [
        ({"formula": "sum"}, {"formula": "power"}, "formula"),
        ({"model": "toy@a"}, {"model": "toy@b"}, "model"),
        ({"let": {"f(x)": "x"}}, {"let": {"f(y)": "y"}}, "let/f(y)"),
    ],
)
def test_every_kind_of_key_set_twice_is_found(
    one: dict[str, Any], other: dict[str, Any], place: str
):
    found = errors(
        (ARM, one), ("layers/1", SECOND_LAYER), ("layers/1/experiments/0/arms/0/set", other)
    )
    assert [p for p, _ in found] == [f"/layers/1/experiments/0/arms/0/set/{place}"]


def test_setting_what_the_formula_lacks_is_a_warning():
    (found,) = warnings((ARM, {"formula": "sum", "params": {"b": 1.6}}))
    assert found.severity == "warning"
    assert found.pointer == f"/{ARM}/params/b"
    assert found.message == "formula 'sum' has no param 'b', so this changes nothing"
    (found,) = warnings((f"{ARM}/params", {"w_lik": 1}))
    assert found.message == (
        "formula 'base' has no param 'w_lik', so this changes nothing; did you mean 'w_like'?"
    )
    (found,) = warnings((f"{ARM}/let", {"g(x)": "x"}))
    assert found.message == "formula 'base' has no let 'g(x)', so this changes nothing"


def test_a_param_that_another_layers_formula_lacks_is_a_warning():
    (found,) = warnings(
        ("layers/1", SECOND_LAYER), ("layers/1/experiments/0/arms/0/set", {"formula": "sum"})
    )
    assert found.pointer == f"/{ARM}/params/b"
    assert found.message == "formula 'sum' has no param 'b', so this changes nothing"


def test_layers_with_one_salt_are_warned_about():
    (found,) = warnings(("layers/1", {"name": "twin", "salt": "fusion-2026-11"}))
    assert (found.severity, found.pointer) == ("warning", "/layers/1/salt")
    assert found.message == (
        "layers 'fusion' and 'twin' have the same salt and unit, so their experiments are not"
        " independent"
    )


def test_a_forced_arm_exists():
    assert errors(("force/712", {"fusio": "vcr-up/treatment"})) == [
        ("/force/712/fusio", "there is no layer 'fusio'; did you mean 'fusion'?")
    ]
    assert errors(("force/712", {"fusion": "vcr-up/treatmint"})) == [
        (
            "/force/712/fusion",
            "layer 'fusion' has no arm 'vcr-up/treatmint'; did you mean 'vcr-up/treatment'?",
        )
    ]


@pytest.mark.parametrize(
    ("ladder", "pointer", "message"),
    [
        (
            [{"step": "model"}],
            "/ladder/0",
            "a model step names its model, as name@alias or name/version",
        ),
        (
            [{"step": "fewer", "model": "toy/1"}],
            "/ladder/0/model",
            "'model' belongs to the step 'model'",
        ),
        (
            [{"step": "model", "model": "toy/1", "least": 5}],
            "/ladder/0/least",
            "'least' belongs to the step 'fewer'",
        ),
        (
            [{"step": "input_order"}, {"step": "fewer"}],
            "/ladder/0",
            "input_order is the last step: it always fits",
        ),
        (
            [{"step": "fewer"}, {"step": "fewer", "least": 10}],
            "/ladder/1",
            "fewer is named twice; it holds for every step after it",
        ),
        (
            [{"step": "model", "model": "toy@"}],
            "/ladder/0/model",
            None,
        ),
    ],
)
def test_a_step_of_the_ladder_that_makes_no_sense_is_an_error(
    ladder: list[dict[str, Any]], pointer: str, message: str | None
):
    (found,) = errors(("ladder", ladder))
    assert found[0] == pointer
    assert message in (None, found[1])


def test_a_ladder_may_be_empty_or_have_every_step():
    assert warnings(("ladder", [])) == []
    steps = [
        {"step": "fewer", "least": 50},
        {"step": "model", "model": "toy/1"},
        {"step": "input_order"},
    ]
    assert warnings(("ladder", steps)) == []


def test_a_plan_that_says_nothing_cuts_to_a_hundred_candidates_and_then_to_the_input_order():
    steps = parse_plan(plan()).ladder
    assert [(s.step, s.least) for s in steps] == [("fewer", 100), ("input_order", 100)]


def test_a_deadline_leaves_more_than_the_reserve():
    assert inspect.signature(Admission).parameters["reserve_s"].default * 1000 == RESERVE_MS
    for deadline_ms in (1, RESERVE_MS):
        assert errors(("deadline_ms", deadline_ms)) == [
            (
                "/deadline_ms",
                f"deadline_ms is {deadline_ms:g}, of which 3 ms are kept for writing the answer:"
                " nothing would ever be ranked; give it more",
            )
        ]
    assert warnings(("deadline_ms", 3.1)) == []
