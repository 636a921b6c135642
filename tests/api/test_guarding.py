"""The drill: an arm that makes scores invalid is stopped by itself, and nobody else notices."""

import asyncio
import copy
import itertools
import time

import pytest

from service.api.guarding import Watcher
from service.api.publishing import Publisher
from service.contract.repository import Repository
from service.experiment.connection import connect
from service.experiment.guardrails import Guard
from service.experiment.loader import PlanLoader
from service.metrics import Metrics
from tests.api.running import PLAN, Running, running
from tests.experiment import packages

STOPPED_WITHIN_S = 10.0
USERS = [f"u{n}" for n in range(24)]
IDS = [f"i{n}" for n in range(20, 40)]
# No golden row is as short as the first of these: the gate cannot know what log makes of it.
LENGTHS = [1.5, *(3.0 + n for n in range(19))]
LIMITS = {"max_invalid_share": 0.01, "window_s": 10, "least_requests": 20}


def plan(arm, guardrails=LIMITS):
    document = copy.deepcopy(PLAN)
    document["formulas"]["short"] = {"score": "ctr + log(videolen_s - 2)"}
    (experiment,) = document["layers"][0]["experiments"]
    experiment["buckets"] = [[0, 9999]]
    experiment["arms"] = [
        {"name": "control", "share": 1},
        {"name": "canary", "share": 1, "set": arm},
        {"name": "other", "share": 1, "set": {"params": {"b": 1.6}}},
    ]
    document["force"] = {}
    if guardrails is not None:
        document["guardrails"] = guardrails
    return document


def request(user):
    return {
        "scene": "feed",
        "user": {"id": user},
        "candidates": {"ids": IDS, "features": {"videolen_s": LENGTHS}},
    }


def ask(service: Running, user):
    answer = service.rank(request(user))
    assert answer.status_code == 200, answer.text
    reply = answer.json()
    return {key: reply[key] for key in ("plan", "exp_id", "ids", "scores", "heads", "degraded")}


def without_plan(reply):
    return {key: value for key, value in reply.items() if key != "plan"}


@pytest.fixture
def replicas(models, valkey_of_its_own, tmp_path):
    with (
        running(models, valkey_of_its_own, tmp_path / "a", replica="a") as one,
        running(models, valkey_of_its_own, tmp_path / "b", replica="b") as two,
    ):
        yield one, two


def test_an_arm_that_goes_invalid_is_stopped_once_and_nobody_outside_it_sees_a_change(replicas):
    one, two = replicas
    first = one.publish(plan({}))
    wait_until(lambda: serves(two, first))
    before = {user: ask(one, user) for user in USERS}
    inside = {user for user, reply in before.items() if "canary" in reply["exp_id"]}
    assert 0 < len(inside) < len(USERS)
    broken = one.publish(plan({"formula": "short"}))

    seen, began = [], None
    turns = ((user, replica) for user in itertools.cycle(USERS) for replica in replicas)
    for user, service in turns:
        reply = ask(service, user)
        seen.append((user, reply))
        if None in reply["scores"]:
            began = began or time.monotonic()
        if began is not None and reply["plan"] > broken:
            break
        assert began is None or time.monotonic() - began < STOPPED_WITHIN_S, "nobody stopped it"
    seen += [(user, ask(one, user)) for user in USERS]

    for user, reply in seen:
        if user not in inside:
            assert without_plan(reply) == without_plan(before[user])
        elif reply["plan"] == broken:
            assert reply["scores"][-1] is None
            assert reply["degraded"] == ["invalid_score"]
        elif reply["plan"] > broken:
            assert reply["exp_id"] == ""
            assert reply["scores"] == before[user]["scores"]
    assert {reply["plan"] for _, reply in seen} >= {broken, broken + 1}

    last = one.client.get("/v1/plans/feed/history").json()["history"]
    assert [(e["version"], e["author"]) for e in last[:2]] == [
        (broken + 1, "guardrail"),
        (broken, ""),
    ]
    assert "fusion:vcr-up/canary" in last[0]["message"]
    assert "max_invalid_share is 0.01, but 5.00% of" in last[0]["message"]
    stored = one.client.get("/v1/plans/feed").json()["plan"]
    canary = stored["layers"][0]["experiments"][0]["arms"][1]
    assert "candidates have no finite score" in canary.pop("stopped")
    assert stored == plan({"formula": "short"})


def test_a_second_replica_that_saw_the_same_does_not_publish_again(replicas):
    one, two = replicas
    broken = one.publish(plan({"formula": "short"}))
    wait_until(lambda: serves(two, broken))
    for user, service in itertools.product(USERS * 3, replicas):
        ask(service, user)
    wait_until(lambda: ask(one, "u0")["plan"] > broken and ask(two, "u0")["plan"] > broken)
    for user, service in itertools.product(USERS * 3, replicas):
        ask(service, user)
    time.sleep(2.5)  # two more looks of each
    assert ask(one, "u0")["plan"] == ask(two, "u0")["plan"] == broken + 1


def test_without_guardrails_nothing_is_stopped(replicas):
    one, _ = replicas
    broken = one.publish(plan({"formula": "short"}, guardrails=None))
    for user in USERS * 4:
        ask(one, user)
    time.sleep(1.5)  # one look at least
    assert ask(one, "u0")["plan"] == broken


async def test_a_scene_whose_version_takes_its_time_holds_up_no_other(valkey_of_its_own, tmp_path):
    packages.publish_package(tmp_path / "models")
    redis = connect(valkey_of_its_own, timeout_s=5.0)
    stopped = {"feed": asyncio.Event(), "search": asyncio.Event()}
    let_go, guard = asyncio.Event(), Guard()

    async def prepare(ids):
        pass

    async def rehearse(snapshot):
        if (snapshot.scene, snapshot.version) == ("feed", 2):
            await let_go.wait()

    loader = PlanLoader(
        redis,
        Repository(tmp_path / "models"),
        prepare=prepare,
        rehearse=rehearse,
        state_dir=tmp_path / "state",
        replica="a",
        on_change=lambda live: stopped[live.scene].set() if live.version == 2 else None,
    )
    for scene in stopped:
        document = packages.plan(("scene", scene), ("guardrails", LIMITS))
        await loader.store.publish(scene, document, expected=None)
    await loader.start()
    for scene in stopped:
        live = loader.snapshot(scene)
        for _ in range(LIMITS["least_requests"]):
            arm = {"fusion": "vcr-up/treatment"}
            guard.add(live, arm, degraded=False, candidates=9, invalid=9, latency_ms=1.0)
    watching = asyncio.create_task(Watcher(Publisher(loader, prepare), guard, Metrics(), "a").run())
    async with asyncio.timeout(STOPPED_WITHIN_S):
        await stopped["search"].wait()
        assert not stopped["feed"].is_set()
        let_go.set()
        await stopped["feed"].wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await loader.close()
    await redis.aclose()


def serves(service: Running, version):
    return service.rank(request("u0")).json().get("plan") == version


def wait_until(true):
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < STOPPED_WITHIN_S
        time.sleep(0.01)
