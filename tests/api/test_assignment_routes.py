"""What a request would get can be asked beforehand, and what was served afterwards."""

import copy
import itertools

import pytest

from service.experiment.hashes import bucket
from tests.api.running import PLAN, Running

SCENE = itertools.count()


@pytest.fixture
def scene(service: Running) -> str:
    """A scene of this test alone, with everybody in its experiment."""
    return publish(service)


def publish(service: Running, **changes) -> str:
    name = f"exp-{next(SCENE)}"
    document = copy.deepcopy(PLAN) | {"scene": name}
    document["layers"][0]["experiments"][0] |= {"buckets": [[0, 9999]], **changes}
    service.publish(document, name)
    return name


def rank(service: Running, scene: str, user: str, features=None, **more):
    who = {"id": user, "features": features}
    asked = {"scene": scene, "user": who, "items": [{"id": "i1"}], **more}
    answer = service.rank(asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(service: Running, **query):
    return service.client.get("/v1/assignments", params=query)


def test_what_is_answered_is_what_ranking_does(service: Running, scene: str):
    for user in ("u1", "u2", "u3", "forced"):
        said, done = ask(service, scene=scene, user_id=user).json(), rank(service, scene, user)
        for key in ("scene", "plan", "model", "formula", "assignments", "exp_id"):
            assert said[key] == done[key]
        assert said["params"]["b"] == (1.6 if "treatment" in said["exp_id"] else 1.2)
    (line,) = ask(service, scene=scene, user_id="u1").json()["buckets"]
    assert line["bucket"] == bucket("fusion-1", "u1")


def test_context_user_values_and_the_time_are_parameters(service: Running):
    ramp = [{"at": "2026-11-01T00:00:00Z", "percent": 100}]
    scene = publish(service, when="context.tab == 1 and user.is_new == 1", ramp=ramp)
    query = {"scene": scene, "user_id": "u1", "context.tab": 1, "user.is_new": 1}

    def exp_id(**changed):
        return ask(service, **query, **changed).json()["exp_id"]

    assert exp_id(at="2026-11-02T00:00:00Z").startswith("fusion:vcr-up/")
    assert exp_id(at="2026-10-02T00:00:00Z") == ""
    query["context.tab"] = 2
    assert exp_id(at="2026-11-02T00:00:00Z") == ""


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"user": "u1"}, "unknown parameter 'user' (known: scene, user_id, request_id, at, con"),
        ({"at": "monday"}, "?at=monday: write date, time and zone like 2026-11-22T08:00:00Z"),
    ],
)
def test_a_parameter_that_means_nothing_is_refused(service: Running, scene: str, query, words):
    answer = ask(service, scene=scene, **query)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]


def test_a_condition_reads_the_values_of_the_request(service: Running):
    scene = publish(service, when="context.tab == 1 and user.is_new == 1")
    new = {"is_new": True}
    inside = rank(service, scene, "u1", new, context={"tab": 1})
    assert inside["exp_id"].startswith("fusion:vcr-up/")
    assert rank(service, scene, "u1", new, context={"tab": 2})["exp_id"] == ""
    assert rank(service, scene, "u1", context={"tab": 1})["exp_id"] == ""


def test_what_conditions_read_is_no_unknown_feature(service: Running):
    scene = publish(service, when="context.no_feature == 1 and user.no_feature == 1")
    rank(service, scene, "u1", {"no_feature": 1}, context={"no_feature": 1})
    metrics = service.client.get("/metrics").text
    assert f'finerank_features_unknown_total{{scene="{scene}"}}' not in metrics


def test_a_request_may_bring_its_own_assignment(service: Running, scene: str):
    arm = {"fusion": "vcr-up/treatment"}
    for user in ("u1", "u2", "u3"):
        found = rank(service, scene, user, bucket=arm)
        assert (found["assignments"], found["degraded"]) == (arm, [])
    assert rank(service, scene, "u1", bucket={"fusion": ""})["assignments"] == {}
    why = rank(service, scene, "u1", bucket={"fusion": 77}, explain=True)["explain_request"]
    assert (why["buckets"][0]["bucket"], why["buckets"][0]["asked"]) == (77, 77)
    assert rank(service, scene, "u1", bucket=77)["exp_id"]


def test_an_assignment_that_the_plan_does_not_have_is_told_and_nothing_breaks(
    service: Running, scene: str
):
    own = {"fusion": "ended/arm", "gone": 3}
    found = rank(service, scene, "u1", bucket=own)
    assert found["exp_id"] == rank(service, scene, "u1")["exp_id"]
    assert found["degraded_detail"] == {"unknown_assignment": 2}


@pytest.mark.parametrize("wrong", [10_000, -1, "fusion", {"fusion": 1.5}, {"fusion": 10_000}, []])
def test_a_bucket_that_is_none_is_refused(service: Running, scene: str, wrong):
    answer = service.rank({"scene": scene, "items": [], "bucket": wrong})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/bucket")


def test_signs_of_a_perturbed_arm_are_in_the_reply(service: Running):
    arms = [{"name": "tune", "share": 1, "set": {"perturb": {"a": 0.1}}}]
    name = f"exp-{next(SCENE)}"
    document = copy.deepcopy(PLAN) | {"scene": name, "force": {}}
    document["layers"][0]["experiments"][0] |= {"buckets": [[0, 9999]], "arms": arms}
    service.publish(document, name)
    for user in ("u1", "u2", "u3", "u4"):
        up = bucket("fusion-1", "vcr-up", "a", user) < 5_000
        found = rank(service, name, user)
        assert found["signs"] == {"a": 1 if up else -1}
        assert found["exp_id"] == "fusion:vcr-up/tune"


def test_served_arms_are_counted_and_checked(service: Running, scene: str):
    for n in range(30):
        rank(service, scene, f"u{n}")
    rank(service, scene, "forced")
    answer = service.client.get("/v1/experiments", params={"scene": scene}).json()
    (found,) = answer["experiments"]
    assert (found["layer"], found["experiment"], found["percent"]) == ("fusion", "vcr-up", 100)
    assert sum(arm["requests"] for arm in found["arms"]) == 30
    assert [arm["expected"] for arm in found["arms"]] == [15, 15]
    assert found["verdict"] == "as planned"
    metrics = service.client.get("/metrics").text
    assert (
        f'finerank_served_total{{arm="vcr-up/control",layer="fusion",scene="{scene}"}}' in metrics
    )
    assert f'p_value{{experiment="vcr-up",layer="fusion",scene="{scene}"}}' in metrics


def test_publishing_says_who_would_change_arms(service: Running):
    name = f"exp-{next(SCENE)}"
    document = copy.deepcopy(PLAN) | {"scene": name}
    service.publish(document, name)
    document["layers"][0]["experiments"][0]["buckets"] = [[0, 4999]]
    assert service.put(document, name).json()["findings"] == []
    document["layers"][0]["experiments"][0]["arms"][0]["share"] = 150
    (finding,) = service.put(document, name).json()["findings"]
    assert finding["severity"] == "warning"
    assert "25 % from treatment to control" in finding["message"]
