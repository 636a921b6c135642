"""The plan store keeps versions for ever, and lets one of two publishers win."""

import asyncio
import json

import pytest

from service.experiment.connection import Client
from service.experiment.errors import DamagedPlan, StaleVersion, UnknownVersion
from service.experiment.store import CHANNEL, PlanStore, plan_digest
from tests.experiment.packages import PLAN, plan


@pytest.fixture
def store(redis: Client) -> PlanStore:
    return PlanStore(redis)


async def test_an_unknown_scene_has_no_plan(store: PlanStore):
    assert await store.live("feed") is None
    assert await store.scenes() == []
    assert await store.history("feed") == []
    with pytest.raises(UnknownVersion, match="scene 'feed' has no plan version 1"):
        await store.get("feed", 1)


async def test_a_key_of_another_type_is_a_damaged_plan_or_pointer(store: PlanStore, redis: Client):
    await store.publish("search", PLAN, expected=None)
    await redis.hset("finerank:{feed}:plan:v:1", "plan", "written by hand")
    await redis.rpush("finerank:{feed}:plan:live", 1)
    wrong = "is damaged: WRONGTYPE Operation against a key holding the wrong kind of value"
    with pytest.raises(DamagedPlan, match=f"^version 1 of scene 'feed' {wrong}$"):
        await store.get("feed", 1)
    assert await store.live_all(["feed", "none", "search"]) == {
        "feed": 0,
        "none": None,
        "search": 1,
    }


async def test_a_published_plan_is_read_back_as_it_was(store: PlanStore):
    assert await store.publish("feed", PLAN, expected=None, author="ann", message="first") == 1
    assert await store.live("feed") == 1
    assert await store.scenes() == ["feed"]
    found = await store.get("feed", 1)
    assert (found.version, found.author, found.message) == (1, "ann", "first")
    assert json.dumps(found.plan) == json.dumps(PLAN)
    assert found.published_at.endswith("Z")


async def test_the_keys_are_those_of_the_design(store: PlanStore, redis: Client):
    await store.publish("feed", PLAN, expected=None)
    await store.report("feed", "host:1", "text")
    keys = {key.decode() for key in await redis.keys("*")}
    assert keys == {
        "finerank:{feed}:plan:v:1",
        "finerank:{feed}:plan:live",
        "finerank:{feed}:audit",
        "finerank:{feed}:replicas",
        "finerank:scenes",
    }
    assert await redis.get("finerank:{feed}:plan:live") == b"1"
    assert await redis.type("finerank:{feed}:audit") == b"stream"
    assert await redis.type("finerank:{feed}:replicas") == b"hash"


async def test_versions_only_grow_and_stay(store: PlanStore):
    for version in range(1, 6):
        expected = version - 1 or None
        changed = plan(("deadline_ms", 40 + version))
        assert await store.publish("feed", changed, expected=expected) == version
    assert [(await store.get("feed", v)).plan["deadline_ms"] for v in range(1, 6)] == [
        41, 42, 43, 44, 45,
    ]  # fmt: skip


async def test_a_stale_publisher_is_told_the_current_version(store: PlanStore):
    await store.publish("feed", PLAN, expected=None)
    await store.publish("feed", PLAN, expected=1)
    with pytest.raises(StaleVersion) as caught:
        await store.publish("feed", plan(("deadline_ms", 99)), expected=1)
    assert (caught.value.expected, caught.value.current) == (1, 2)
    assert str(caught.value) == (
        "scene 'feed': the change was made to version 1, but version 2 is live"
    )
    assert await store.live("feed") == 2
    assert len(await store.history("feed")) == 2


async def test_a_new_scene_is_not_published_over_a_plan_nor_a_change_over_none(store: PlanStore):
    with pytest.raises(StaleVersion, match="made to version 3, but there is none"):
        await store.publish("feed", PLAN, expected=3)
    await store.publish("feed", PLAN, expected=None)
    with pytest.raises(StaleVersion, match="made to no plan, but version 1 is live"):
        await store.publish("feed", PLAN, expected=None)


async def test_of_two_publishers_at_once_one_wins(store: PlanStore):
    await store.publish("feed", PLAN, expected=None)
    results = await asyncio.gather(
        *(store.publish("feed", PLAN, expected=1, author=str(n)) for n in range(8)),
        return_exceptions=True,
    )
    stale = [r for r in results if isinstance(r, StaleVersion)]
    assert [r for r in results if isinstance(r, int)] == [2]
    assert len(stale) == 7
    assert {error.current for error in stale} == {2}


async def test_a_lost_pointer_overwrites_no_version(store: PlanStore, redis: Client):
    await store.publish("feed", PLAN, expected=None, author="first")
    await redis.delete("finerank:{feed}:plan:live")
    assert await store.publish("feed", PLAN, expected=None, author="second") == 2
    assert (await store.get("feed", 1)).author == "first"


async def test_a_publication_is_heard_on_the_channel(store: PlanStore, redis: Client):
    async with redis.pubsub() as channel:
        await channel.subscribe(CHANNEL)
        while (await channel.get_message(timeout=5.0)) is None:
            pass
        await store.publish("feed", PLAN, expected=None)
        message = await channel.get_message(timeout=5.0)
        assert message is not None
        assert (message["channel"], message["data"]) == (b"finerank:plans", b"feed")


async def test_history_is_newest_first_and_limited(store: PlanStore):
    await store.publish("feed", PLAN, expected=None, author="ann", message="one")
    await store.publish("feed", PLAN, expected=1, author="bob", message="two")
    old = await store.get("feed", 1)
    await store.publish("feed", old.plan, expected=2, author="ann", rollback_to=1)
    found = await store.history("feed")
    assert [(p.version, p.replaced, p.rollback_to, p.author) for p in found] == [
        (3, 2, 1, "ann"),
        (2, 1, None, "bob"),
        (1, None, None, "ann"),
    ]
    assert found[1].message == "two"
    assert [p.version for p in await store.history("feed", limit=1)] == [3]


async def test_scenes_are_apart(store: PlanStore):
    await store.publish("feed", PLAN, expected=None)
    await store.publish("search", PLAN, expected=None)
    await store.publish("feed", PLAN, expected=1)
    assert await store.scenes() == ["feed", "search"]
    assert await store.live_all(["feed", "search", "none"]) == {
        "feed": 2,
        "search": 1,
        "none": None,
    }


async def test_a_damaged_document_is_noticed(store: PlanStore, redis: Client):
    await store.publish("feed", PLAN, expected=None)
    key = "finerank:{feed}:plan:v:1"
    body = await redis.get(key)
    await redis.set(key, body.replace(b"1.6", b"1.7"))
    with pytest.raises(DamagedPlan, match="version 1 of scene 'feed' is damaged: its document"):
        await store.get("feed", 1)
    await redis.set(key, body[:40])
    with pytest.raises(DamagedPlan, match="version 1 of scene 'feed' is damaged: JSONDecodeError"):
        await store.get("feed", 1)
    await redis.set(key, b"\xff{")
    with pytest.raises(DamagedPlan, match="version 1 of scene 'feed' is damaged: UnicodeDecodeErr"):
        await store.get("feed", 1)


async def test_replicas_say_what_they_run_until_they_leave(store: PlanStore):
    await store.report("feed", "b", "2")
    await store.report("feed", "a", "1")
    await store.report("feed", "a", "2")
    assert await store.replicas("feed") == {"a": "2", "b": "2"}
    await store.forget("feed", "a")
    assert await store.replicas("feed") == {"b": "2"}


def test_a_digest_is_of_the_document_not_of_its_spaces():
    assert plan_digest(json.loads(json.dumps(PLAN, indent=4))) == plan_digest(PLAN)
    assert plan_digest(plan(("deadline_ms", 41))) != plan_digest(PLAN)
