"""A combination of arms changes the default, and every change knows where it stands."""

from typing import Any

from service.experiment.effects import Effect, count_effects, effects, own_effects
from service.experiment.plan import parse_plan
from tests.experiment.packages import plan

ARM = "layers/0/experiments/0/arms/1/set"
AT = ("layers", 0, "experiments", 0, "arms", 1, "set")


def treated(*changes: tuple[str, Any]) -> Effect:
    return dict(effects(parse_plan(plan(*changes))))[(2,)]


def test_the_default_comes_first_and_every_arm_has_its_number():
    found = dict(effects(parse_plan(plan())))
    assert list(found) == [(0,), (1,), (2,)]
    assert [e.exp_id for e in found.values()] == [
        "",
        "fusion:vcr-up/control",
        "fusion:vcr-up/treatment",
    ]
    assert [e.params["b"] for e in found.values()] == [1.2, 1.2, 1.6]
    assert [e.set_at for e in found.values()] == [None, None, AT]


def test_layers_multiply():
    second = {
        "name": "second",
        "salt": "s",
        "experiments": [{"name": "e", "buckets": [], "arms": [{"name": "a", "share": 1}]}],
    }
    read = parse_plan(plan(("layers/1", second)))
    assert count_effects(read) == 6
    assert len(dict(effects(read))) == 6


def test_an_arm_without_changes_is_the_default_by_another_name():
    default, control = list(dict(effects(parse_plan(plan()))).values())[:2]
    assert control.assignments == {"fusion": "vcr-up/control"}
    assert (control.score, control.params, control.let) == (
        default.score,
        default.params,
        default.let,
    )


def test_zero_is_set_like_any_number():
    assert treated((f"{ARM}/params/b", 0)).params["b"] == 0


def test_an_arms_function_takes_the_place_of_the_one_of_its_name():
    found = treated((f"{ARM}/let", {"f(z)": "z", "g": "1"}))
    assert found.let == {"f(z)": ("z", (*AT, "let", "f(z)"))}


def test_an_arms_formula_brings_its_own_numbers_and_functions():
    found = treated((ARM, {"formula": "power"}))
    assert found.params == {"w_ctr": 0.3, "w_vcr": 1.2}
    assert list(found.let) == ["f(x)"]
    assert found.score_at == ("formulas", "power", "multiplicative")


def test_an_arms_model_stands_in_the_arm():
    found = treated((ARM, {"model": "toy/3"}))
    assert (found.model, found.model_at) == ("toy/3", (*AT, "model"))


def test_every_formula_is_an_effect_of_its_own_whether_used_or_not():
    found = list(own_effects(parse_plan(plan())))
    assert [e.formula for e in found] == ["base", "power", "sum"]
    assert {e.model for e in found} == {"toy@champion"}
