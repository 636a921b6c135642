import itertools
import math
from copy import deepcopy

import pytest

from service.api.explanations import no_explanation
from service.scoring.answers import in_input_order
from tests.api.running import PLAN
from tests.scoring.conftest import asked, compiled

IDS = [f"i{n}" for n in range(14, 34)]
LENGTHS = [float(5 * n) for n in range(1, 21)]


def ask(user="nobody", **more):
    features = {"videolen_s": LENGTHS}
    return {"user": {"id": user}, "candidates": {"ids": IDS, "features": features}, **more}


def explained(service, **more):
    answer = service.rank(ask(explain=True, **more))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_control_says_what_the_arm_changed_and_what_each_item_had_without_it(service):
    told = explained(service, user="forced")
    assert told["assignments"] == {"fusion": "vcr-up/treatment"}
    assert told["explain_request"]["control"] == {"params": {"b": [1.2, 1.6]}}
    plain = service.rank(ask("nobody")).json()
    alone = dict(zip(plain["ids"], plain["scores"], strict=True))
    for id_, item in zip(told["ids"], told["explain"], strict=True):
        assert item["control"]["score"] == alone[id_]
        assert item["control"]["position"] == plain["ids"].index(id_) + 1
    assert [item["position"] for item in told["explain"]] == list(range(1, len(IDS) + 1))


def test_who_is_in_no_experiment_has_no_control(service):
    told = explained(service)
    assert told["explain_request"]["control"] is None
    assert "control" not in told["explain"][0]


def test_a_formula_of_its_own_is_shown_beside_the_default(service):
    plan = deepcopy(PLAN)
    arm = plan["layers"][0]["experiments"][0]["arms"][1]
    arm["set"] = {"let": {"f(x)": "1 / (1 + x)"}, "params": {"b": 1.2}}
    service.publish(plan)
    changed = explained(service, user="forced")["explain_request"]["control"]
    assert changed == {"let": {"f(x)": ["1 / (1 + log1p(x / 30))", "1 / (1 + x)"]}}
    arm["set"] = {"formula": "sum"}
    service.publish(plan)
    changed = explained(service, user="forced")["explain_request"]["control"]
    assert changed["formula"] == ["base", "sum"]
    assert changed["score"][1].startswith("w_ctr * ctr")
    assert changed["params"]["a"] == [0.3, None]
    service.publish(PLAN)


def test_two_items_are_compared_by_the_terms_that_decide(service):
    last, first = service.rank(ask()).json()["ids"][-1], service.rank(ask()).json()["ids"][0]
    told = service.rank(ask(explain={"compare": [last, first]})).json()
    found = told["explain_request"]["compare"]
    assert (found["above"]["id"], found["below"]["id"]) == (first, last)
    assert found["lead"] == pytest.approx(
        math.log(found["above"]["score"] / found["below"]["score"]), rel=1e-9
    )
    assert sum(term["gap"] for term in found["terms"]) == pytest.approx(found["lead"])
    sizes = [abs(term["gap"]) for term in found["terms"]]
    assert sizes == sorted(sizes, reverse=True)


def test_the_change_it_names_flips_the_two_when_it_is_published(service):
    ids = service.rank(ask()).json()["ids"]
    for above, below in itertools.pairwise(ids):
        told = service.rank(ask(explain={"compare": [above, below]})).json()
        flips = [f for f in told["explain_request"]["compare"]["flips"] if f["needs"] is not None]
        if flips:
            break
    flip = flips[0]
    assert flip["method"] == "log-linear"
    assert flip["bounds"][0] <= flip["needs"] <= flip["bounds"][1]
    plan = deepcopy(PLAN)
    plan["formulas"]["base"]["params"][flip["param"]]["value"] = flip["needs"]
    service.publish(plan)
    moved = service.rank(ask()).json()["ids"]
    service.publish(PLAN)
    assert moved.index(below) < moved.index(above)


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        (["i14", "nope"], "/explain/compare/1: 'nope' is no candidate of this request"),
        (["i14", "i14"], "/explain/compare/1: 'i14' is compared with itself: name two candidates"),
    ],
)
def test_only_two_candidates_can_be_compared(service, pair, sentence):
    answer = service.rank(ask(explain={"compare": pair}))
    assert answer.status_code == 422
    assert answer.json()["detail"] == sentence


def test_a_row_reply_has_the_comparison_too(service):
    items = [{"id": "i14"}, {"id": "i15"}]
    asked = {"user": {"id": "u"}, "items": items, "explain": {"compare": ["i14", "i15"]}}
    told = service.rank(asked).json()
    assert told["explain_request"]["compare"]["mode"] == "product"
    assert told["items"][0]["explain"]["position"] == 1


def test_rules_after_fusion_move_items_and_say_so(service):
    plan = deepcopy(PLAN)
    by_score = service.rank(ask()).json()
    last = by_score["ids"][-1]
    plan["rerank"] = {"pins": {last: 1, "elsewhere": 2}}
    service.publish(plan)
    told = explained(service)
    service.publish(PLAN)
    assert "rerank" not in by_score
    assert told["rerank"] == {"unmet": {}}
    moved = f'finerank_rerank_moved_total{{rule="slots",scene="feed"}} {len(IDS):.1f}'
    assert moved in service.client.get("/metrics").text
    assert told["ids"] == [last, *by_score["ids"][:-1]]
    assert sorted(told["scores"]) == sorted(by_score["scores"])
    assert told["explain"][0]["position"] == len(IDS)
    assert told["explain"][0]["rerank"] == [f"caps, fresh or pins: place {len(IDS)} -> 1"]


@pytest.mark.parametrize("form", ["candidates", "items"])
def test_where_nothing_was_scored_the_reply_says_why_nothing_is_explained(service, form):
    body = {"candidates": {"ids": IDS}} if form == "candidates" else {"items": [{"id": "i1"}]}
    late = service.rank({**body, "explain": True}, **{"X-Request-Timeout-Ms": "1"}).json()
    assert late["degraded"] == ["deadline"]
    assert late["explain_request"] == {
        "note": "nothing was scored, so there is nothing to explain: there was no time left for it"
        " (deadline); X-Request-Timeout-Ms gives more, up to 5000"
    }
    assert "explain" not in (late if form == "candidates" else late["items"][0])
    unasked = service.rank(body, **{"X-Request-Timeout-Ms": "1"}).json()
    assert "explain_request" not in unasked
    none = service.rank({form: [] if form == "items" else {"ids": []}, "explain": True}).json()
    assert none["explain_request"] == {
        "note": "nothing was scored, so there is nothing to explain: there are no candidates"
    }


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("model_failed", "the run of the model failed (model_failed)"),
        ("model_missing", "the model is not loaded (model_missing)"),
    ],
)
def test_a_model_that_gave_no_scores_is_why_nothing_is_explained(models, reason, why):
    request, snapshot = asked(3), compiled(models)
    treatment = snapshot.assign("u7", "r-1", {})
    output = in_input_order(request, snapshot, treatment, {}, {"feature_store": 3, reason: 3})
    told = f"nothing was scored, so there is nothing to explain: {why}"
    assert no_explanation(output) == {"note": told}
