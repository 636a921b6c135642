"""`POST /v1/plans/{scene}/preview` against a real service that answered real requests."""

import copy

import pytest

from tests.api.running import PLAN
from tests.scoring.packages import raw_rows


@pytest.fixture(scope="module", autouse=True)
def answered(service):
    for row, raw in enumerate(raw_rows(5, 12)):
        items = raw_rows(row, 30)
        features = {"videolen_s": [float(n + 1) for n in range(30)]}
        service.rank(
            {
                "scene": "feed",
                "user": {"id": raw["user"]["id"], "features": raw["user"]["features"]},
                "context": raw["context"],
                "candidates": {"ids": [i["item"]["id"] for i in items], "features": features},
            }
        )


def preview(service, change=None, **query):
    plan = copy.deepcopy(PLAN)
    if change is not None:
        change(plan)
    return service.client.post("/v1/plans/feed/preview", json=plan, params=query)


def test_the_live_plan_as_a_draft_changes_nothing(service):
    report = preview(service).json()
    assert report["requests"] == 12
    assert (report["tau_b"]["mean"], report["overlap"]["5"]) == (1, 1)
    assert (report["top1_changed"], report["unchanged"]) == (0, 1)
    assert report["movers"] == {"up": [], "down": []}
    assert report["source"] == "memory"
    assert "not lift" in report["note"]


def test_a_draft_says_what_its_order_would_bring(service):
    def longest_first(plan):
        plan["formulas"]["base"] = {"score": "videolen_s"}
        plan["layers"] = []
        plan["force"] = {}

    report = preview(service, longest_first).json()
    assert report["means"]["videolen_s"]["5"]["draft"] == 28
    assert report["means"]["videolen_s"]["5"]["delta"] > 0
    assert report["formulas"] == {"base": 12}
    (short, *_) = report["lengths"]
    assert (short["below_s"], short["draft"]) == (15, 0)
    assert report["movers"]["up"]


def test_only_the_last_requests_are_compared(service):
    assert preview(service, last=3).json()["requests"] == 3


@pytest.mark.parametrize("last", ["0", "-1", "10001", "all"])
def test_a_number_of_requests_that_cannot_be_is_refused(service, last):
    answer = preview(service, last=last)
    assert answer.status_code == 400
    assert f"?last={last} is no number from 1 to 10000" in answer.text


def test_a_draft_with_errors_is_refused_as_publishing_would(service):
    def unknown_head(plan):
        plan["formulas"]["base"]["score"] = "ctrr"

    answer = preview(service, unknown_head)
    assert answer.status_code == 422
    assert "did you mean 'ctr'?" in answer.json()["detail"]


def test_a_scene_without_requests_compares_none(service):
    plan = {**PLAN, "scene": "new"}
    report = service.client.post("/v1/plans/new/preview", json=plan).json()
    assert (report["requests"], report["tau_b"]["mean"]) == (0, None)


def test_rules_after_fusion_are_a_part_of_the_order(service):
    ruled = {**PLAN, "rerank": {"decay": [{"by": "author_id", "factor": 0.3}], "pins": {"i3": 1}}}
    ids = [f"i{n}" for n in range(30)]
    features = {"author_id": [f"a{n % 3}" for n in range(30)]}
    service.publish(ruled)
    for number in range(3):
        told = service.rank(
            {
                "scene": "feed",
                "user": {"id": f"u{number}"},
                "candidates": {"ids": ids, "features": features},
                "explain": True,
            }
        ).json()
        assert told["ids"][0] == "i3"
    service.publish(PLAN)

    def same(plan):
        plan.update(ruled)

    with_rules, without = preview(service, same, last=3).json(), preview(service, last=3).json()
    assert (with_rules["unchanged"], with_rules["by_score_only"]) == (1, 0)
    assert without["unchanged"] == 0
    assert len(with_rules["plans"]) == 1
    assert len(preview(service, last=5).json()["plans"]) == 2
