"""What the formula engine of PAI-Rec does with a formula it cannot read or compute, line by line.

Each test is one line of the table of its failures; the comment says what happens there.
"""

import asyncio
import gc
import weakref

import numpy as np
import pytest
import structlog

from service.experiment.connection import connect
from service.experiment.store import PlanStore
from service.fusion import Formula, compile_formula
from tests.peer_traps.scene import TREATED, Scene, by_id, experiment, heads_of, is_close


def test_a_head_that_is_not_there_is_refused_never_zero(scene: Scene) -> None:
    # evaluates to 0, no error
    error = scene.refused("ctr * likee")
    assert error["pointer"] == "/formulas/base/score"
    assert "unknown name 'likee'" in error["detail"]
    assert "did you mean 'like'?" in error["detail"]
    # ... nor may any model that the plan can reach lack it
    error = scene.refused("ctr * like", **experiment(model="no-like@champion"))
    assert "'like'" in error["detail"]
    assert "no-like/1" in error["detail"]


def test_scientific_notation_is_a_number(scene: Scene) -> None:
    # the lexer cuts 1e from -3, the error is never read, every item scores 0
    scene.publish("1e-3 * ctr")
    reply = scene.rank()
    assert is_close(reply["scores"], [1e-3 * heads["ctr"] for heads in heads_of(reply)])
    assert len(set(reply["scores"])) == 20


def test_unary_minus_negates(scene: Scene) -> None:
    # -1 for every item
    scene.publish("ctr * -1")
    reply = scene.rank()
    assert reply["scores"] == [-heads["ctr"] for heads in heads_of(reply)]
    assert len(set(reply["scores"])) == 20


def test_division_by_zero_costs_that_candidate_its_score_and_nothing_else(scene: Scene) -> None:
    # panic; with a fallback timer nothing recovers it and the process dies
    scene.publish("ctr / price")
    items, prices = ["i20", "i21", "i22"], [2.0, 0.0, 4.0]
    reply = scene.rank(items, features={"price": prices})
    assert (reply["ids"][-1], reply["scores"][-1]) == ("i21", None)
    assert reply["degraded_detail"] == {"invalid_score": 1}
    others = scene.rank(["i20", "i22"], features={"price": [2.0, 4.0]})
    assert by_id(reply) == by_id(others) | {"i21": None}
    assert "gives no finite score on golden row" in scene.refused("ctr / (like - like)")["detail"]


def test_an_experiment_sets_a_param_to_zero(scene: Scene) -> None:
    # 0 is read as "not set": a weight cannot be switched off
    text = "ctr * 2 + b * vcr"
    scene.publish({"score": text, "params": {"b": 3.0}}, **experiment(params={"b": 0}))
    usual, treated = scene.rank(), scene.rank(user=TREATED)
    assert is_close(usual["scores"], [2 * h["ctr"] + 3 * h["vcr"] for h in heads_of(usual)])
    assert treated["scores"] == [2 * h["ctr"] for h in heads_of(treated)]


def test_a_name_of_the_plan_is_not_a_name_of_the_item(scene: Scene) -> None:
    # experiment before item in one engine, item before experiment in the other
    scene.publish({"score": "ctr * b", "params": {"b": 2.0}}, **experiment(params={"b": 3.0}))
    plain = scene.rank(user=TREATED)
    named = scene.rank(user=TREATED, features={"b": [100.0] * 20, "ctr": [100.0] * 20})
    assert plain["scores"] == [heads["ctr"] * 3.0 for heads in heads_of(plain)]
    assert (named["ids"], named["scores"]) == (plain["ids"], plain["scores"])
    error = scene.refused({"score": "ctr * price", "params": {"price": 2.0}})
    assert error["pointer"] == "/formulas/base/params/price"
    assert "'price' names a param and also an attribute of model tiny/1" in error["detail"]


def test_a_model_that_fails_gives_no_scores_rather_than_zeros(scene: Scene) -> None:
    # one of two algorithms fails for a chunk: the formula runs with zeros, 100 items sink to 0
    scene.publish("1 + ctr", model="fails@champion")
    assert scene.rank(600)["degraded"] == []
    reply = scene.rank(1_300)  # more than 600 in each of two pieces
    assert reply["ids"] == [f"i{14 + n}" for n in range(1_300)]
    assert reply["scores"] == [None] * 1_300
    assert reply["degraded_detail"] == {"model_failed": 1_300}


def test_a_bracket_that_is_never_closed_is_refused_where_it_stands(scene: Scene) -> None:
    # no error reported; items keep their recall score and are ranked by it
    version = scene.publish("ctr + like")
    error = scene.refused("vcr * (ctr + like")
    assert (error["line"], error["column"]) == (1, 7)
    assert error["detail"].startswith("this bracket is never closed")
    assert scene.rank()["plan"] == version


@pytest.mark.parametrize(("score", "column"), [("ctr +", 6), ("ctr like", 5)])
def test_a_formula_is_read_to_its_end(scene: Scene, score: str, column: int) -> None:
    # accepted as `ctr`; the rest is ignored
    error = scene.refused(score)
    assert (error["pointer"], error["column"]) == ("/formulas/base/score", column)


def test_powers_associate_as_in_mathematics(scene: Scene) -> None:
    # 2^3^2 is 64
    scene.publish("ctr * 2^3^2")
    reply = scene.rank()
    assert reply["scores"] == [heads["ctr"] * 512 for heads in heads_of(reply)]


def test_a_plan_that_got_past_the_gate_is_named_once_and_the_last_good_one_ranks(
    scene: Scene,
) -> None:
    # logged on every request; items keep their recall score
    service = scene.service
    version = scene.publish("ctr * 2")
    before = scene.rank()

    async def write_past_the_gate() -> None:
        redis = connect(service.runtime.store_url)
        await PlanStore(redis).publish(scene.name, scene.plan("ctr * likee"), expected=version)
        await redis.aclose()

    def problem() -> str | None:
        found = service.client.get("/healthz").json()["scenes"][scene.name].get("problem")
        return found if found is None else str(found)

    asyncio.run(write_past_the_gate())
    while problem() is None:
        pass  # the loader is on its way; the test's own timeout ends this
    assert "unknown name 'likee'" in str(problem())
    with structlog.testing.capture_logs() as logs:
        after = [scene.rank() for _ in range(5)]
    assert [reply["scores"] for reply in after] == [before["scores"]] * 5
    assert {reply["plan"] for reply in after} == {version}
    assert [entry for entry in logs if "likee" in str(entry)] == []


def test_formulas_of_earlier_plans_leave_nothing_behind(scene: Scene) -> None:
    # the parse cache is a map that is never evicted
    def alive() -> int:
        gc.collect()
        return sum(type(thing) is Formula for thing in gc.get_objects())

    scene.publish("ctr * 0.5")
    before = alive()
    assert before > 0
    for number in range(1, 31):
        scene.publish(f"ctr * {number}")
        scene.rank()
    assert alive() <= before + 3
    formula = compile_formula("ctr * 0.125", heads=["ctr"])
    gone = weakref.ref(formula)
    formula({"ctr": np.ones(3)}, rows=3)
    del formula
    gc.collect()
    assert gone() is None
