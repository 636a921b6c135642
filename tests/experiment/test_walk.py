"""Walking a plan finds its arms, params and models with their places."""

from service.experiment.plan import parse_plan
from service.experiment.walk import arm_id, arms, declared_params, let_name, model_refs
from tests.experiment.packages import plan


def test_every_arm_has_its_path():
    found = [(path[-1], arm_id(e, a)) for path, _, e, a in arms(parse_plan(plan()))]
    assert found == [(0, "vcr-up/control"), (1, "vcr-up/treatment")]


def test_weights_are_params_and_stand_at_their_head():
    found = {(name, path[1]): path[2:] for name, path, _ in declared_params(parse_plan(plan()))}
    assert found["b", "base"] == ("params", "b")
    assert found["w_vcr", "power"] == ("multiplicative", "vcr")
    assert found["w_like", "sum"] == ("additive", "like")


def test_a_model_is_named_once():
    arm = "layers/0/experiments/0/arms"
    document = plan(
        (f"{arm}/0/set", {"model": "toy@champion"}), (f"{arm}/1/set", {"model": "toy/3"})
    )
    assert [str(ref) for ref in model_refs(parse_plan(document))] == ["toy@champion", "toy/3"]


def test_a_let_is_named_by_what_stands_before_its_parameters():
    assert (let_name("f(x, y)"), let_name("boost")) == ("f", "boost")
