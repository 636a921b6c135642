"""`/v1/plans/{scene}` over real HTTP and a real Valkey: who may write, what is refused."""

import copy
import re

import pytest

from tests.api.running import AUTH, PLAN, Running

URL = "/v1/plans/feed"


def changed(**params: float):
    plan = copy.deepcopy(PLAN)
    for name, value in params.items():
        plan["formulas"]["base"]["params"][name]["value"] = value
    return plan


def live(service: Running) -> int:
    return service.client.get(URL).json()["version"]


def ranked_with(service: Running) -> int:
    return service.rank({"scene": "feed", "items": [{"id": "i20"}]}).json()["plan"]


@pytest.fixture
def untouched(service):
    """Nothing that the test does may change the live plan, or what ranks."""
    before = service.client.get(URL).content
    yield
    assert service.client.get(URL).content == before
    assert ranked_with(service) == live(service)


def test_get_answers_the_plan_as_it_was_given_with_its_etag(service):
    version = service.publish(changed(b=1.3))
    answer = service.client.get(URL)
    assert answer.headers["etag"] == f'"v{version}"'
    body = answer.json()
    assert set(body) == {"version", "plan", "author", "message", "published_at"}
    assert body["plan"] == changed(b=1.3)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", body["published_at"])


def test_an_older_version_can_be_read(service):
    old = service.publish(changed(b=1.31))
    service.publish(changed(b=1.32))
    assert service.client.get(URL, params={"version": old}).json()["plan"] == changed(b=1.31)
    missing = service.client.get(URL, params={"version": 99_999})
    assert (missing.status_code, missing.json()["type"]) == (
        404, "urn:finerank:problem:unknown-version")  # fmt: skip
    assert service.client.get(URL, params={"version": "x"}).status_code == 400


def test_a_scene_without_plan_is_not_found(service):
    answer = service.client.get("/v1/plans/nowhere")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "scene 'nowhere' has no plan (scenes: feed)"


def test_what_was_put_ranks_the_next_request(service):
    for value in (0.5, 1.0, 2.0):
        version = service.publish(changed(b=value))
        assert ranked_with(service) == version


@pytest.mark.parametrize(
    ("method", "body"), [("PUT", PLAN), ("PATCH", {"params": {"b": 1.6}})], ids=["put", "patch"]
)
@pytest.mark.parametrize(
    "said", [{"author": "李工", "message": "more completion"}, {}], ids=["said", "unsaid"]
)
def test_author_and_message_are_kept(service, method, body, said):
    headers = {**AUTH, "If-Match": "*"}
    answer = service.client.request(method, URL, json=body, headers=headers, params=said)
    assert answer.status_code == 200
    told = service.client.get(URL).json()
    expected = (said.get("author", ""), said.get("message", ""))
    assert (told["author"], told["message"]) == expected
    newest = service.client.get(f"{URL}/history").json()["history"][0]
    assert (newest["author"], newest["message"]) == expected


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "token-missing"),
        ({"Authorization": "Basic dGVzdA=="}, 401, "token-missing"),
        ({"Authorization": "Bearer"}, 401, "token-missing"),
        ({"Authorization": "Bearer wrong"}, 403, "token-wrong"),
        ({"Authorization": "Bearer test-token2"}, 403, "token-wrong"),
        ({"Authorization": "Bearer tëst".encode()}, 403, "token-wrong"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", ""), ("PATCH", ""), ("POST", "/rollback")],
)
def test_no_write_without_the_token_whatever_else_is_wrong(
    service, method, path, headers, status, code
):
    answer = service.client.request(method, URL + path, content=b"{no json", headers=headers)
    assert answer.status_code == status
    assert answer.json()["type"] == f"urn:finerank:problem:{code}"
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Bearer realm="finerank"'


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_write_must_name_the_version_it_replaces(service, method):
    missing = service.client.request(method, URL, json=PLAN, headers=AUTH)
    assert (missing.status_code, missing.json()["type"]) == (
        428, "urn:finerank:problem:etag-missing")  # fmt: skip
    for headers in ({"If-Match": '"v99999"'}, {"If-None-Match": "*"}):
        stale = service.client.request(method, URL, json=PLAN, headers={**AUTH, **headers})
        assert stale.status_code == 412
        assert stale.json()["version"] == live(service)
        assert stale.headers["etag"] == f'"v{live(service)}"'


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("score", "words", "caret"),
    [
        ("ctr ^ ", "", True),
        ("ctr * vvr", "vvr", True),
        ("log(ctr - ctr)", "gives no finite score on golden row", False),
        ("ctr + log1p", "", True),
        ("1 / (rank_in - 1)", "gives no finite score on golden row", False),
    ],
)
def test_a_bad_formula_is_refused_with_its_place(service, score, words, caret):
    plan = copy.deepcopy(PLAN)
    plan["formulas"]["base"] = {"score": score}
    plan["layers"] = []
    plan["force"] = {}
    answer = service.put(plan)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["type"] == "urn:finerank:problem:plan-refused"
    fault = problem["errors"][0]
    assert fault["pointer"] == "/formulas/base/score"
    assert fault["severity"] == "error"
    assert words in fault["detail"]
    if caret:
        source, marker = fault["caret"].split("\n")[:2]
        assert source.strip() == score.strip()
        indent = source.index(score[0])
        assert marker[indent + fault["column"] - 1] in "~^"
        assert fault["line"] == 1


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"scene": "other"}, "/scene", "the plan says scene 'other', the path 'feed'"),
        ({"model": "tiny@champ"}, "/model", "champ"),
        ({"model": "nothing"}, "/model", "no model 'nothing'"),
        ({"format": 2}, "/format", ""),
        ({"formulae": {}}, "/formulae", "unknown key 'formulae'"),
        ({"input": {}}, "/input", "reserved"),
        ({"default": {"formula": "bse"}}, "/default/formula", "did you mean 'base'"),
        ({"deadline_ms": 1e300}, "/deadline_ms", "absurdly large"),
        ({"force": {"1": {"fusion": "vcr-up/treatmnt"}}}, "/force/1/fusion", "vcr-up/treatment"),
    ],
)
def test_a_plan_that_does_not_fit_together_is_refused(service, change, pointer, words):
    answer = service.put({**PLAN, **change})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert words in answer.json()["errors"][0]["detail"]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("body", [b"", b"{", b"[1e400]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(service, body):
    answer = service.client.put(URL, content=body, headers={**AUTH, "If-Match": "*"})
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:finerank:problem:malformed-json"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b"[" * 500 + b"]" * 500])
def test_json_that_is_no_plan_is_refused(service, body):
    answer = service.client.put(URL, content=body, headers={**AUTH, "If-Match": "*"})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:finerank:problem:plan-refused"


def test_warnings_are_told_and_do_not_stop_a_put(service):
    plan = copy.deepcopy(PLAN)
    plan["layers"][0]["experiments"][0]["arms"][1]["set"] = {"params": {"bb": 1.6}}
    answer = service.put(plan)
    assert answer.status_code == 200
    finding = answer.json()["findings"][0]
    assert finding["severity"] == "warning"
    assert finding["pointer"] == "/layers/0/experiments/0/arms/1/set/params/bb"
    assert "did you mean 'b'" in finding["message"]


@pytest.mark.usefixtures("untouched")
def test_validate_says_what_a_put_would_say_without_a_token(service):
    fine = service.client.post(URL + "/validate", json=PLAN)
    assert fine.json() == {"valid": True, "findings": []}
    wrong = copy.deepcopy(PLAN)
    wrong["formulas"]["base"]["score"] = "ctr * vvr"
    answer = service.client.post(URL + "/validate", json=wrong)
    assert answer.status_code == 200
    assert answer.json()["valid"] is False
    assert {"severity", "pointer", "message", "line", "column", "caret"} <= set(
        answer.json()["findings"][0]
    )


def test_patch_changes_a_param_everywhere_and_shows_at_once(service):
    service.publish(PLAN)
    answer = service.client.patch(
        URL, json={"params": {"b": 2.5, "w_like": 3}}, headers={**AUTH, "If-Match": "*"}
    )
    assert answer.status_code == 200
    body = service.client.get(URL).json()
    assert answer.json() == {"version": body["version"], "findings": []}
    assert body["plan"]["formulas"]["base"]["params"]["b"] == {"value": 2.5, "min": 0, "max": 5}
    assert body["plan"]["formulas"]["sum"]["additive"]["like"] == 3
    assert ranked_with(service) == body["version"]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("patch", "pointer", "words"),
    [
        ({"params": {"bb": 1}}, "/params/bb", "no formula has a param 'bb'; did you mean 'b'?"),
        ({"params": {"b": 9}}, "/formulas/base/params/b", "outside its bounds [0, 5]"),
        ({"params": {"b": {"max": 1}}}, "/formulas/base/params/b", "outside its bounds"),
        ({"params": {"b": {"max": "x"}}}, "/params/b/max", "must be a number, not a string"),
        ({"params": {"b": "x"}}, "/params/b", "not a string"),
        ({"params": {"b": True}}, "/params/b", "not a boolean"),
        ({"params": {}}, "/params", "must not be empty"),
        ({"param": {"b": 1}}, "/param", "did you mean 'params'?"),
        ({}, "/params", "'params' is missing"),
        ([], "", "an object"),
    ],
)
def test_a_patch_that_fits_nothing_is_refused(service, patch, pointer, words):
    answer = service.client.patch(URL, json=patch, headers={**AUTH, "If-Match": "*"})
    assert answer.status_code == 422, answer.text
    fault = answer.json()["errors"][0]
    assert fault["pointer"] == pointer
    assert words in fault["detail"]


def test_history_tells_who_published_what_newest_first(service):
    service.client.put(
        URL, json=PLAN, headers={**AUTH, "If-Match": "*"}, params={"author": "a", "message": "m"}
    )
    body = service.client.get(URL + "/history", params={"limit": 2}).json()
    assert (body["scene"], body["live"]) == ("feed", live(service))
    newest, before = body["history"]
    assert (newest["version"], newest["author"], newest["message"]) == (body["live"], "a", "m")
    assert newest["replaced"] == before["version"]


def test_rollback_publishes_what_was_live_before_as_a_new_version(service):
    first = service.publish(changed(b=0.7))
    second = service.publish(changed(b=0.8))
    answer = service.client.post(URL + "/rollback", headers=AUTH)
    assert answer.json()["version"] > second
    assert service.client.get(URL).json()["plan"] == changed(b=0.7)
    assert ranked_with(service) == answer.json()["version"]
    newest = service.client.get(URL + "/history", params={"limit": 1}).json()["history"][0]
    assert (newest["rollback_to"], newest["message"]) == (first, f"rollback to {first}")
    why = {"message": "likes have dropped"}
    service.client.post(URL + "/rollback", json={"version": second}, params=why, headers=AUTH)
    message = service.client.get(URL).json()["message"]
    assert message == f"rollback to {second}: likes have dropped"


def test_rollback_pressed_again_goes_further_back_and_never_to_the_plan_it_left(service):
    versions = [service.publish(changed(b=b)) for b in (0.3, 0.4, 0.5)]
    for steps, b in ((1, 0.4), (2, 0.3)):
        answer = service.client.post(URL + "/rollback", headers=AUTH)
        assert answer.status_code == 200, steps
        assert service.client.get(URL).json()["plan"] == changed(b=b)
    bad = service.publish(changed(b=0.6))
    service.client.post(URL + "/rollback", headers=AUTH)
    assert service.client.get(URL).json()["plan"] == changed(b=0.3)
    newest = service.client.get(URL + "/history", params={"limit": 1}).json()["history"][0]
    assert newest["rollback_to"] not in {bad, *versions}


def test_rollback_takes_any_version_that_exists(service):
    old = service.publish(changed(b=0.9))
    service.publish(changed(b=1.0))
    service.publish(changed(b=1.1))
    answer = service.client.post(URL + "/rollback", json={"version": old}, headers=AUTH)
    assert answer.status_code == 200
    assert service.client.get(URL).json()["plan"] == changed(b=0.9)
    missing = service.client.post(URL + "/rollback", json={"version": 99_999}, headers=AUTH)
    assert missing.status_code == 404
    stale = service.client.post(
        URL + "/rollback", json={"version": old}, headers={**AUTH, "If-Match": f'"v{old}"'}
    )
    assert stale.status_code == 412


def test_a_first_plan_of_a_scene_is_put_with_if_none_match(service):
    plan = {**PLAN, "scene": "other"}
    path = "/v1/plans/other"
    assert service.client.put(path, json=plan, headers={**AUTH, "If-Match": "*"}).status_code == 412
    answer = service.client.put(path, json=plan, headers={**AUTH, "If-None-Match": "*"})
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    assert service.rank({"scene": "other", "items": []}).json()["plan"] == 1
    unnamed = service.rank({"items": []})
    assert unnamed.status_code == 422
    assert unnamed.json()["detail"] == "say which scene: feed, other are live"


@pytest.mark.parametrize("scene", ["a b", "a:b", "{feed}", "x" * 65, "精"])
def test_a_scene_name_that_no_plan_can_have_is_refused(service, scene):
    answer = service.put({**PLAN, "scene": scene}, scene, **{"If-None-Match": "*"})
    assert answer.status_code in {404, 422}
    assert service.client.get(f"/v1/plans/{scene}").status_code == 404


def test_writers_that_take_any_version_all_get_through(service):
    import concurrent.futures

    service.publish(PLAN)

    def patch(n: int) -> int:
        return service.client.patch(
            URL, json={"params": {"b": n / 10}}, headers={**AUTH, "If-Match": "*"}
        ).status_code

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        assert set(threads.map(patch, range(9))) == {200}


def test_a_caller_may_ask_for_more_time_than_the_scenes_default(service):
    service.publish({**PLAN, "scene": "hasty", "deadline_ms": 3.001}, "hasty")
    request = {"scene": "hasty", "items": [{"id": "i20"}]}
    assert service.rank(request).json()["degraded"] == ["deadline"]
    assert service.rank(request, **{"X-Request-Timeout-Ms": "5000"}).json()["degraded"] == []


def test_rollback_from_a_scenes_first_plan_names_it_also_when_it_came_back(service):
    plan = {**PLAN, "scene": "young"}
    service.publish(plan, "young")
    service.publish(plan | {"deadline_ms": 50}, "young")
    path = "/v1/plans/young/rollback"
    assert service.client.post(path, headers=AUTH).status_code == 200
    answer = service.client.post(path, headers=AUTH)
    assert answer.status_code == 404
    detail = "scene 'young': version 3 replaced no other plan; name a version"
    assert answer.json()["detail"] == detail


def test_a_param_of_the_wrong_type_is_named_once(service):
    headers = {**AUTH, "If-Match": "*"}
    answer = service.client.patch(URL, json={"params": {"b": "1.6"}}, headers=headers).json()
    assert answer["detail"] == "/params/b: must be a number or an object, not a string"
    assert [fault["pointer"] for fault in answer["errors"]] == ["/params/b"]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_wrong_method_is_told_what_all_routes_of_the_path_take(service, method):
    answer = service.client.request(method, URL)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PATCH, PUT")
    assert answer.json()["detail"] == f"{method} {URL}: this route takes GET, PATCH, PUT"
