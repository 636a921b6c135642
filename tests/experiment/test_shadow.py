"""A plan's shadow: compiled, checked and loaded like what serves, and given to nobody."""

import pytest

from service.experiment.errors import PlanInvalid
from service.experiment.plan import parse_plan
from service.experiment.snapshot import Snapshot, compile_snapshot
from service.experiment.variants import one_model_each
from service.experiment.walk import model_refs
from tests.experiment.packages import HEADS, ToyModels, golden, manifest, plan


def snapshot(shadow: dict[str, object], heads: tuple[str, ...] = HEADS) -> Snapshot:
    models = ToyModels(
        toy=(manifest(), golden()), other=(manifest("other", 3, heads), golden(heads))
    )
    return compile_snapshot(parse_plan(plan(("shadow", shadow))), 1, models)


def test_a_formula_in_shadow_keeps_its_own_numbers_and_the_model_of_the_answer():
    for treatment in snapshot({"formula": "sum"}).treatments.values():
        assert treatment.shadow is not None
        assert treatment.shadow.formula_name == "sum"
        assert treatment.shadow.params == {"w_ctr": 1.0, "w_like": 4.0, "w_vcr": 0.5}
        assert treatment.shadow.model == treatment.model
        assert treatment.formula_name == "base"


def test_without_a_shadow_there_is_none():
    live = compile_snapshot(parse_plan(plan()), 1, ToyModels())
    assert [t.shadow for t in live.treatments.values()] == [None] * 3


@pytest.mark.parametrize(
    ("shadow", "share"),
    [
        ({"formula": "sum"}, 1.0),
        ({"model": "toy@champion"}, 0.05),
        ({"formula": "sum", "model": "toy@champion"}, 0.05),
        ({"formula": "sum", "share": 0.2}, 0.2),
    ],
)
def test_a_model_takes_a_small_share_and_a_formula_all_requests(shadow, share):
    found = parse_plan(plan(("shadow", shadow))).shadow
    assert found is not None
    assert found.share_taken == share


@pytest.mark.parametrize(
    ("shadow", "message"),
    [
        ({}, "name a formula, a model, or both"),
        ({"formula": "summ"}, "there is no formula 'summ'; did you mean 'sum'?"),
        ({"formula": "sum", "share": 0}, "greater than 0"),
        ({"model": "toy@"}, "toy@"),
    ],
)
def test_a_shadow_that_means_nothing_is_refused(shadow, message):
    with pytest.raises(PlanInvalid, match=message.replace("?", r"\?")):
        parse_plan(plan(("shadow", shadow)))


def test_a_model_in_shadow_gets_the_formula_of_the_answer_and_is_loaded_and_rehearsed():
    live = snapshot({"model": "other@challenger"})
    assert live.models == {"toy/1", "other/3"}
    assert [str(ref) for ref in model_refs(live.plan)] == ["toy@champion", "other@challenger"]
    for treatment in live.treatments.values():
        assert treatment.shadow is not None
        assert (treatment.model, treatment.shadow.model) == ("toy/1", "other/3")
        assert (treatment.shadow.formula_name, treatment.shadow.params) == (
            treatment.formula_name,
            treatment.params,
        )
    rehearsed = dict(one_model_each(live, {"other/3"}))
    assert rehearsed["other/3"].assign("1", "1", {}).model == "other/3"


def test_a_model_in_shadow_that_lacks_a_head_of_a_formula_refuses_the_plan():
    with pytest.raises(PlanInvalid, match="model other/3"):
        snapshot({"model": "other@challenger"}, heads=("ctr",))
