"""A shadow changes no answer, is compared with every one it is meant for, and can be promoted."""

import copy
import time

import pytest

from service.api.shadowing import Shadowing
from service.experiment.plan import parse_plan
from service.experiment.snapshot import compile_snapshot
from service.metrics import Metrics
from tests.api.running import AUTH, PLAN, Running, running
from tests.experiment.packages import ToyModels
from tests.experiment.packages import plan as toy_plan
from tests.scoring.packages import publish_tiny

IDS = [f"i{n}" for n in range(20, 60)]
WITHIN_S = 10.0


@pytest.fixture(scope="module")
def challenged(tmp_path_factory):
    """Models with a challenger whose weights are others."""
    root = tmp_path_factory.mktemp("challenged")
    publish_tiny(root)
    publish_tiny(root, "rival", seed=5)
    return root


@pytest.fixture
def fresh(challenged, valkey_of_its_own, tmp_path):
    with running(challenged, valkey_of_its_own, tmp_path) as service:
        service.publish(plan())
        yield service


def plan(**keys):
    document = copy.deepcopy(PLAN) | keys
    document["formulas"]["draft"] = {"score": "vcr - 2 * ctr + 0 * log(videolen_s - 2)"}
    return document


def ask(service: Running, user, lengths=30.0):
    answer = service.rank(
        {
            "scene": "feed",
            "user": {"id": user},
            "candidates": {"ids": IDS, "features": {"videolen_s": [lengths] * len(IDS)}},
        }
    )
    assert answer.status_code == 200, answer.text
    reply = answer.json()
    return {k: reply[k] for k in ("plan", "exp_id", "ids", "scores", "heads", "degraded", "model")}


def seen(service: Running, requests: int):
    """The shadow's report once it has seen so many requests."""
    began = time.monotonic()
    while True:
        report = service.client.get("/v1/plans/feed/shadow").json()
        if sum(report.get("requests", {}).values()) >= requests:
            return report
        assert time.monotonic() - began < WITHIN_S, report
        time.sleep(0.02)


def write(service: Running, method, path, document=None):
    answer = service.client.request(
        method, f"/v1/plans/feed{path}", json=document, headers=AUTH, params={"author": "me"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["version"]


def without_plan(reply):
    return {key: value for key, value in reply.items() if key != "plan"}


@pytest.mark.parametrize(
    "shadow",
    [{"formula": "draft"}, {"model": "rival@champion", "share": 1.0}],
    ids=["formula", "model"],
)
def test_a_shadow_changes_no_answer_and_reports_how_it_differs(fresh, shadow):
    users = [f"u{n}" for n in range(20)]
    before = {user: ask(fresh, user) for user in users}
    version = write(fresh, "PUT", "/shadow", shadow)
    for user in users:
        reply = ask(fresh, user)
        assert without_plan(reply) == without_plan(before[user])
        assert reply["plan"] == version
        if "model" in shadow:
            seen(fresh, users.index(user) + 1)  # one after the other: none is dropped
    report = seen(fresh, len(users))
    assert report["requests"] == {"compared": len(users)}
    assert report["candidates"] == len(users) * len(IDS)
    assert report["invalid_share"] == 0
    assert -1 <= report["tau"] < 1
    assert 0 <= report["overlap@10"] < 1
    metrics = fresh.client.get("/metrics").text
    assert (
        f'finerank_shadow_requests_total{{result="compared",scene="feed"}} {len(users)}.0'
        in metrics
    )
    assert f'finerank_shadow_tau_count{{scene="feed"}} {len(users)}.0' in metrics


def test_the_formula_in_force_as_its_own_shadow_differs_in_nothing(fresh):
    write(fresh, "PUT", "/shadow", {"formula": "base"})
    for n in range(8):
        ask(fresh, "outside" + str(n))
    report = seen(fresh, 8)
    # who is in the experiment has another number
    assert report["overlap@50"] == 1.0
    assert report["tau"] > 0.9


def test_invalid_scores_of_a_shadow_are_counted_and_seen_by_nobody(fresh):
    write(fresh, "PUT", "/shadow", {"formula": "draft"})
    assert None not in ask(fresh, "u1", lengths=1.0)["scores"]
    assert seen(fresh, 1)["invalid_share"] == 1.0


def test_a_promoted_formula_is_the_default_and_the_shadow_is_gone(fresh):
    write(fresh, "PUT", "/shadow", {"formula": "draft"})
    version = write(fresh, "POST", "/shadow/promote")
    stored = fresh.client.get("/v1/plans/feed").json()
    assert (stored["version"], stored["author"]) == (version, "me")
    assert stored["plan"] == plan(default={"formula": "draft"})


def test_a_promoted_model_is_the_version_that_was_in_shadow(fresh):
    write(fresh, "PUT", "/shadow", {"model": "rival@champion"})
    assert fresh.client.get("/v1/plans/feed/shadow").json()["shadow"] == {
        "formula": None,
        "model": "rival/1",
        "share": 0.05,
    }
    write(fresh, "POST", "/shadow/promote")
    assert fresh.client.get("/v1/plans/feed").json()["plan"] == plan(model="rival/1")
    assert ask(fresh, "u1")["model"] == "rival/1"


def test_a_stopped_shadow_leaves_the_plan_as_it_was(fresh):
    write(fresh, "PUT", "/shadow", {"formula": "draft"})
    write(fresh, "DELETE", "/shadow")
    assert fresh.client.get("/v1/plans/feed").json()["plan"] == plan()
    assert fresh.client.get("/v1/plans/feed/shadow").json()["shadow"] is None
    refused = fresh.client.delete("/v1/plans/feed/shadow", headers=AUTH)
    assert refused.json()["detail"] == "the live plan has no shadow"


def test_a_shadow_is_checked_like_what_serves(fresh):
    answer = fresh.client.put(
        "/v1/plans/feed/shadow", json={"model": "gone@champion"}, headers=AUTH
    )
    assert answer.status_code == 422
    assert "gone" in answer.json()["detail"]
    answer = fresh.client.put("/v1/plans/feed/shadow", json={"formula": "drat"}, headers=AUTH)
    assert "there is no formula 'drat'; did you mean 'draft'?" in answer.json()["detail"]
    assert fresh.client.put("/v1/plans/feed/shadow", json={"formula": "x"}).status_code == 401


def test_a_late_answer_of_a_replaced_plan_resets_no_tally():
    def snapshot(shadow):
        return compile_snapshot(parse_plan(toy_plan(("shadow", shadow))), 1, ToyModels())

    old, new = snapshot({"formula": "base"}), snapshot({"formula": "base", "share": 0.5})
    shadowing = Shadowing(None, Metrics())  # nothing is scored here
    tally = shadowing.tally(new)
    tally.results["compared"] += 1
    assert shadowing.tally(old).results == {}
    assert shadowing.tally(new) is tally
