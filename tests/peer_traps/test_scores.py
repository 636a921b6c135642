"""How peers turn heads into scores: zeros, weights, signs and names that are not what they seem."""

import ast
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from service.fusion import compile_formula
from service.rerank.rerank import rerank
from tests.api.running import AUTH
from tests.peer_traps.scene import TREATED, Scene, by_id, experiment, heads_of, is_close
from tests.rerank.plans import Decay, Rules, given


def test_what_cannot_be_scored_is_null_and_last_and_moves_nobody_else(scene: Scene) -> None:
    # a silent zero for a missing head: a whole block of candidates sinks, unnoticed (PAI-Rec)
    scene.publish("like - ctr", model="nan@champion")  # scores below zero: a zero would lead
    others = [f"i{n}" for n in range(14, 24)]
    reply = scene.rank(["i13", *others])
    assert by_id(reply) == by_id(scene.rank(others)) | {"i13": None}
    assert min(score for score in reply["scores"] if score is not None) < 0
    assert reply["ids"][-1] == "i13"
    assert reply["heads"]["ctr"][-1] is None
    assert reply["degraded"] == ["invalid_score"]


def test_a_weight_of_zero_is_a_weight(scene: Scene) -> None:
    # 0 is read as "unset" (PAI-Rec)
    scene.publish({"score": "ctr + b * vcr", "params": {"b": 2.0}})
    path = f"/v1/plans/{scene.name}"
    headers = AUTH | {"If-Match": scene.service.client.get(path).headers["etag"]}
    patched = scene.service.client.patch(path, json={"params": {"b": 0}}, headers=headers)
    assert patched.status_code == 200, patched.text
    reply = scene.rank()
    assert reply["scores"] == [heads["ctr"] for heads in heads_of(reply)]
    scene.publish({"additive": {"ctr": 1.0, "vcr": 0}})
    assert scene.rank()["scores"] == reply["scores"]
    scene.publish({"multiplicative": {"ctr": 1.0, "vcr": 0}})
    assert scene.rank()["scores"] == reply["scores"]


@pytest.mark.parametrize(
    "text",
    [
        "1e-3", "1E3 - .5e+1", "2 - -3", "-2**2", "2**-1", "2**3**2", "-2**-2", "(-2)**2",
        "8 / 4 / 2", "8 - 4 - 2", "8 / 4 * 2", "2 + 3 * 4**2 / 8 - 1", "2 * -3 + 1", "- - 2",
        "-(1 - 3) * 2", "1 - 2**-2 * 4",
    ],
)  # fmt: skip
def test_arithmetic_is_that_of_mathematics(text: str) -> None:
    # scientific notation, unary minus and precedence in a home-made parser (PAI-Rec)
    expected = eval(compile(ast.parse(text, mode="eval"), "", "eval"))
    for spelling in (text, text.replace("**", "^"), text.replace(" ", "")):
        scores = compile_formula(f"ctr * 0 + ({spelling})", heads=["ctr"])(
            {"ctr": np.array([0.25])}, rows=1
        )
        assert scores.values.tolist() == [expected]


def test_one_evaluator_answers_everywhere_a_formula_is_used(scene: Scene) -> None:
    # two evaluators with opposite precedence of names (PAI-Rec)
    formula = {
        "score": "lift(ctr) ^ a - 2 ^ -vcr / b + f(videolen_s)",
        "let": {"lift(x)": "x * (1 + like)", "f(x)": "if(x > 10, log1p(x), -x)"},
        "params": {"a": 0.7, "b": 2.0},
    }
    arm = experiment(params={"a": 1.3})
    scene.publish(formula, **arm)
    features = {"videolen_s": [3.0 * n for n in range(12)], "a": [9.0] * 12, "lift": [9.0] * 12}
    for user in ({"id": "u7"}, TREATED):
        plain = scene.rank(12, user=user, features=features)
        told = scene.rank(12, user=user, features=features, explain=True)
        assert (told["ids"], told["scores"]) == (plain["ids"], plain["scores"])
        for explained, score in zip(told["explain"], plain["scores"], strict=True):
            assert sum(term["contribution"] for term in explained["terms"]) == pytest.approx(score)

    def preview(**keys: object) -> dict[str, Any]:
        plan = scene.plan(formula, **keys)
        answer = scene.service.client.post(f"/v1/plans/{scene.name}/preview", json=plan)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    same = preview(**arm)
    assert (same["requests"], same["unchanged"], same["tau_b"]["mean"]) == (4, 1.0, 1.0)
    assert preview(**experiment(params={"a": 0.01}))["tau_b"]["mean"] < 1


def test_a_multiplier_of_scores_below_zero_is_named_before_it_is_published(scene: Scene) -> None:
    # multiplying after an offset lifts what has a negative score and a small factor (X)
    below_zero = {"additive": {"ctr": 1.0, "like": -5.0}}
    multiplied = below_zero | {"videolen": {"fn": "log1p", "scale_s": 30, "combine": "*"}}
    answer = scene.service.put(scene.plan(multiplied), scene.name)
    assert answer.status_code == 200, answer.text
    [warning] = answer.json()["findings"]
    assert warning["severity"] == "warning"
    assert "may be negative, which turns the order around: it is -5 … 1" in warning["message"]
    # negative heads themselves are ranked as they stand
    scene.publish(below_zero)
    reply = scene.rank()
    assert min(reply["scores"]) < 0
    assert is_close(reply["scores"], [h["ctr"] - 5 * h["like"] for h in heads_of(reply)])
    assert all(one >= other for one, other in pairwise(reply["scores"]))


def test_decay_of_a_score_below_zero_lowers_it() -> None:
    # the factor is multiplied onto the score whatever its sign, and repeats rise (X)
    scores, authors = [-1.0, -1.2, -1.4, -1.6], [7, 7, 7, 8]
    decayed = rerank(Rules(decay=(Decay(factor=0.5),)), given(scores, author=authors))
    assert decayed.order.tolist() == [0, 3, 1, 2]
    for offset in (0.0, 2.0):  # above and below zero, the same items give way
        moved = given([score + offset for score in scores], author=authors)
        order = rerank(Rules(decay=(Decay(factor=0.1),)), moved).order
        assert order.tolist() == [0, 3, 1, 2]
