"""A snapshot gives each request its treatment: default, arm, forced arm, or several layers'."""

import hashlib
from typing import Any

import numpy as np
import pytest

from service.experiment.errors import PlanInvalid
from service.experiment.plan import parse_plan
from service.experiment.snapshot import Snapshot, compile_snapshot
from tests.experiment.packages import ToyModels, golden, manifest, plan

ARM = "layers/0/experiments/0/arms/1/set"
EVERYBODY = ("layers/0/experiments/0/buckets", [[0, 9999]])


def snapshot(*changes: tuple[str, Any], models: ToyModels | None = None) -> Snapshot:
    return compile_snapshot(parse_plan(plan(*changes)), 41, models or ToyModels())


def slot_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 10_000


def user_with(slot: int, salt: str = "fusion-2026-11") -> str:
    return next(str(n) for n in range(1_000_000) if slot_of(f"{salt}:{n}") == slot)


def test_a_snapshot_says_what_it_is():
    found = snapshot()
    assert (found.scene, found.version, found.deadline_ms) == ("feed", 41, 40)
    assert found.models == {"toy/1"}
    with pytest.raises(AttributeError):
        found.version = 42  # type: ignore[misc]


def test_a_user_outside_every_experiment_gets_the_default():
    user = user_with(1000)  # the first bucket after the range
    found = snapshot().assign(user, "r-1", {})
    assert found.formula_name == "base"
    assert found.params == {"a": 0.3, "b": 1.2, "c": 0.5}
    assert found.assignments == {}
    assert found.exp_id == ""
    assert found.buckets == {"fusion": 1000}
    assert found.model == "toy/1"


def test_a_user_in_the_last_bucket_of_the_range_is_in():
    user = user_with(999)
    arm = "control" if slot_of(f"fusion-2026-11:vcr-up:{user}") < 5_000 else "treatment"
    assert snapshot().assign(user, None, {}).assignments == {"fusion": f"vcr-up/{arm}"}


def test_arms_follow_the_hash_and_change_their_params():
    live = snapshot(EVERYBODY, ("force", {}))
    for n in range(200):
        found = live.assign(str(n), None, {})
        arm = "control" if slot_of(f"fusion-2026-11:vcr-up:{n}") < 5_000 else "treatment"
        assert found.assignments == {"fusion": f"vcr-up/{arm}"}
        assert found.exp_id == f"fusion:vcr-up/{arm}"
        assert found.params["b"] == (1.2 if arm == "control" else 1.6)
        assert found.buckets == {"fusion": slot_of(f"fusion-2026-11:{n}")}


def test_a_forced_user_gets_the_forced_arm_wherever_the_hash_puts_him():
    found = snapshot().assign("712", None, {})
    assert slot_of("fusion-2026-11:712") > 999
    assert found.assignments == {"fusion": "vcr-up/treatment"}
    assert found.params["b"] == 1.6
    assert found.buckets == {"fusion": slot_of("fusion-2026-11:712")}


def test_a_user_may_be_forced_in_a_layer_whose_unit_the_request_lacks():
    live = snapshot(("layers/0/unit", "context.device"))
    assert live.assign("712", None, {}).exp_id == "fusion:vcr-up/treatment"
    assert live.assign("712", None, {}).buckets == {}


def test_a_missing_unit_gets_the_default():
    live = snapshot(EVERYBODY)
    found = live.assign(None, "r-1", {})
    assert (found.assignments, found.exp_id, found.buckets) == ({}, "", {})


@pytest.mark.parametrize(
    ("unit", "request_"),
    [
        ("request_id", (None, "r-7", {})),
        ("context.device", (None, None, {"device": "r-7"})),
        ("user_id", ("r-7", "other", {})),
    ],
)
def test_the_unit_is_what_the_layer_names(unit: str, request_: tuple[Any, Any, Any]):
    live = snapshot(EVERYBODY, ("layers/0/unit", unit))
    assert live.assign(*request_).buckets == {"fusion": slot_of("fusion-2026-11:r-7")}


def test_the_context_names_that_units_read_are_known():
    assert snapshot(EVERYBODY).context_units == frozenset()
    assert snapshot(EVERYBODY, ("layers/0/unit", "context.device")).context_units == {"device"}


def test_an_arm_may_change_formula_let_and_model():
    models = ToyModels(toy=(manifest(), golden()), other=(manifest("other", version=3), golden()))
    live = snapshot(
        (ARM, {"formula": "power", "let": {"f(y)": "y / 2"}, "model": "other/3"}), models=models
    )
    found = live.assign("712", None, {})
    assert (found.formula_name, found.model) == ("power", "other/3")
    assert live.models == {"toy/1", "other/3"}
    scores = found.formula(
        {"ctr": np.array([0.5]), "vcr": np.array([0.25]), "videolen_s": np.array([8.0])}, rows=1
    )
    np.testing.assert_allclose(scores.values, [0.5**0.3 * 1.25**1.2 / 4])


def test_an_arm_may_change_a_weight_of_a_structured_form():
    live = snapshot(("default/formula", "sum"), (ARM, {"params": {"w_like": 0}}))
    columns = {h: np.array([0.5]) for h in ("ctr", "like", "vcr")}
    default = live.assign("0", None, {}).formula(columns, rows=1).values[0]
    forced = live.assign("712", None, {}).formula(columns, rows=1).values[0]
    assert (default, forced) == (0.5 + 2 + 0.25, 0.5 + 0.25)


def test_layers_combine():
    second = {
        "name": "second",
        "salt": "s2",
        "experiments": [
            {
                "name": "e",
                "buckets": [[0, 4999]],
                "arms": [{"name": "x", "share": 1, "set": {"params": {"a": 1.5}}}],
            }
        ],
    }
    live = snapshot(EVERYBODY, ("layers/1", second), ("force", {}))
    seen = set()
    for n in range(300):
        found = live.assign(str(n), None, {})
        treated = slot_of(f"fusion-2026-11:vcr-up:{n}") >= 5_000
        inside = slot_of(f"s2:{n}") <= 4_999
        assert found.params == {"a": 1.5 if inside else 0.3, "b": 1.6 if treated else 1.2, "c": 0.5}
        assert list(found.assignments) == ["fusion", "second"][: 1 + inside]
        first = f"fusion:vcr-up/{'treatment' if treated else 'control'}"
        assert found.exp_id == (f"{first},second:e/x" if inside else first)
        assert list(found.buckets) == ["fusion", "second"]
        seen.add(found.exp_id)
    assert len(seen) == 4


def test_the_same_request_gets_the_same_treatment():
    live, again = snapshot(EVERYBODY), snapshot(EVERYBODY)
    for n in range(50):
        assert live.assign(str(n), None, {}).exp_id == again.assign(str(n), None, {}).exp_id


def test_a_treatment_reads_its_scalars_from_the_raw_request():
    live = snapshot(("formulas/base", {"score": "ctr + context.hour + user.age"}), (ARM, {}))
    found = live.assign("1", None, {})
    assert found.scalars({"age": 41}, {}) == {"context.hour": 8.0, "user.age": 41.0}


def test_a_plan_without_layers_gives_everybody_the_default():
    live = snapshot(("layers", []), ("force", {}))
    found = live.assign("712", "r", {})
    assert (found.exp_id, found.buckets, found.formula_name) == ("", {}, "base")


def test_a_plan_with_an_error_gives_no_snapshot():
    with pytest.raises(PlanInvalid, match=r"/formulas/base/score: unknown name 'nothing'"):
        snapshot(("formulas/base/score", "nothing"))


LADDER = [{"step": "fewer"}, {"step": "model", "model": "light@champion"}, {"step": "input_order"}]


def test_a_lighter_model_of_the_ladder_gives_every_treatment_another_one():
    models = ToyModels(toy=(manifest(), golden()), light=(manifest("light", 3), golden()))
    compiled = snapshot(("ladder", LADDER), models=models)
    assert compiled.models == {"toy/1", "light/3"}
    assert [step.step for step in compiled.ladder] == ["fewer", "model", "input_order"]
    for treatment in compiled.treatments.values():
        (lighter,) = treatment.lighter
        assert lighter is not None
        assert (treatment.model, lighter.model) == ("toy/1", "light/3")
        assert lighter[:2] + lighter[3:7] == treatment[:2] + treatment[3:7]
    user = user_with(7)
    assert compiled.assign(user, "r-1", {}).lighter == compiled.assign(user, "r-2", {}).lighter


def test_an_arm_that_has_the_lighter_model_already_gets_no_other():
    models = ToyModels(toy=(manifest(), golden()), light=(manifest("light", 3), golden()))
    compiled = snapshot(
        ("ladder", LADDER), (ARM + "/model", "light/3"), ("layers/0/unit", "user_id"), models=models
    )
    found = {t.model: t.lighter for t in compiled.treatments.values()}
    assert found["light/3"] == (None,)


def test_a_lighter_model_that_lacks_a_head_of_the_formula_refuses_the_plan():
    models = ToyModels(
        toy=(manifest(), golden()), light=(manifest("light", 3, ("ctr",)), golden(("ctr",)))
    )
    with pytest.raises(PlanInvalid) as caught:
        snapshot(("ladder", LADDER), models=models)
    assert any("model light/3" in f.message for f in caught.value.findings)
