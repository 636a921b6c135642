"""Replicas tell what they run when it changes, and every half minute."""

import json

from service.experiment.connection import Client, connect
from service.experiment.plan import parse_plan
from service.experiment.reports import Reporter
from service.experiment.snapshot import Snapshot, compile_snapshot
from service.experiment.store import PlanStore
from tests.experiment.packages import ToyModels, plan


def live(version: int) -> dict[str, Snapshot]:
    return {"feed": compile_snapshot(parse_plan(plan()), version, ToyModels())}


async def told(store: PlanStore) -> dict[str, object]:
    found: dict[str, object] = json.loads((await store.replicas("feed"))["host:1"])
    return found


async def test_a_report_is_written_when_something_changed_or_is_due(redis: Client):
    now = 1000.0
    store = PlanStore(redis)
    reporter = Reporter(store, "host:1", clock=lambda: now)
    await reporter.tell(live(1), {})
    first = await told(store)
    assert first.pop("at")
    assert first == {"version": 1, "models": ["toy/1"], "refuses": None}

    await redis.delete("finerank:{feed}:replicas")
    await reporter.tell(live(1), {})
    assert await store.replicas("feed") == {}
    await reporter.tell(live(1), {"feed": "version 2 is refused: x"})
    assert (await told(store))["refuses"] == "version 2 is refused: x"
    await reporter.tell(live(2), {})
    assert (await told(store))["version"] == 2

    await redis.delete("finerank:{feed}:replicas")
    now += 31
    await reporter.tell(live(2), {})
    assert (await told(store))["version"] == 2


async def test_a_scene_without_a_snapshot_is_reported_too(redis: Client):
    store = PlanStore(redis)
    await Reporter(store, "host:1").tell({}, {"feed": "version 1 is refused: x"})
    found = await told(store)
    assert (found["version"], found["models"]) == (None, [])


async def test_a_list_of_another_type_keeps_no_other_scene_from_being_told(redis: Client):
    store, now = PlanStore(redis), 1000.0
    refused = {name: f"{name} is refused" for name in "abc"}
    await redis.set("finerank:{b}:replicas", "written by hand")
    reporter = Reporter(store, "host:1", clock=lambda: now)
    await reporter.tell({}, refused)
    for scene in "ac":
        assert json.loads((await store.replicas(scene))["host:1"])["refuses"] == refused[scene]
    await redis.delete("finerank:{b}:replicas")
    await reporter.tell({}, refused)
    assert await store.replicas("b") == {}, "it was told as far as it can be, until all are due"
    now += 31
    await reporter.tell({}, refused)
    assert list(await store.replicas("b")) == ["host:1"]
    await redis.delete("finerank:{b}:replicas")
    await redis.set("finerank:{b}:replicas", "written by hand")
    await reporter.leave()
    assert (await store.replicas("a"), await store.replicas("c")) == ({}, {})


async def test_a_replica_that_leaves_is_in_no_list(redis: Client):
    store = PlanStore(redis)
    reporter = Reporter(store, "host:1")
    await reporter.tell(live(1), {})
    await reporter.leave()
    assert await store.replicas("feed") == {}


async def test_a_store_that_does_not_answer_is_no_error():
    client = connect("unix:///nowhere.sock")
    reporter = Reporter(PlanStore(client), "host:1")
    await reporter.tell(live(1), {})
    await reporter.leave()
    await client.aclose()
