"""Alias moves are followed by all the scenes they concern, or by none."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from service.commands.taking_over import TakingOver
from service.contract.repository import Repository
from service.experiment.connection import Client
from service.experiment.loader import PlanLoader
from service.experiment.moves import follow, groups, moved, refused_by_others
from service.experiment.plan import parse_plan
from service.experiment.snapshot import Snapshot
from service.experiment.store import PlanStore
from service.features.store import FeatureStore
from service.scoring.item_caches import ItemCaches
from service.scoring.pace import UNPACED
from service.scoring.pool import ModelPool
from tests.experiment.packages import PLAN, plan, publish_package
from tests.scoring.packages import publish_tiny

SIMPLE = plan(
    ("scene", "search"),
    ("formulas", {"base": {"score": "ctr"}}),
    ("layers", []),
    ("force", {}),
)
BLUE, GREEN, RED = ("toy", "blue"), ("toy", "green"), ("other", "champion")


def test_only_aliases_that_point_elsewhere_have_moved():
    named = {"toy": {"blue": 1, "green": 2}, "other": {"champion": 3}}
    now = {"toy": {"blue": 1, "green": 5, "red": 7}, "other": {}}
    assert moved(named, now) == {GREEN, RED}
    assert follow(named, now) == {"toy": {"blue": 1, "green": 5}, "other": {"champion": 0}}


def test_scenes_that_share_a_move_directly_or_not_are_one_group():
    moves = {
        "a": frozenset([BLUE]),
        "b": frozenset([RED]),
        "c": frozenset([GREEN]),
        "d": frozenset([BLUE, GREEN]),
    }
    assert groups(moves) == [["a", "c", "d"], ["b"]]


def test_one_scene_that_fails_refuses_its_group():
    wrong = ValueError("no head 'like'")
    refused = refused_by_others(["a", "b"], {"b": wrong})
    assert refused["b"] is wrong
    assert str(refused["a"]) == ("the alias moved, but scene 'b' cannot follow: no head 'like'")
    assert refused_by_others(["a", "b"], {}) == {}


async def nothing(ids: frozenset[str]) -> None:
    """Models need no loading here."""


@pytest.fixture
async def held_back(redis: Client, models_dir: Path, tmp_path: Path) -> PlanLoader:
    """Serves feed and search with toy/1: the champion has moved to toy/2, which feed cannot use."""
    store = PlanStore(redis)
    await store.publish("feed", PLAN, expected=None)
    await store.publish("search", SIMPLE, expected=None)
    plans = PlanLoader(
        redis,
        Repository(models_dir),
        prepare=nothing,
        state_dir=tmp_path / "state",
        replica="host:1",
    )
    await plans.start()
    assert plans.scenes() == ["feed", "search"]
    publish_package(models_dir, heads=("ctr",))
    await plans.aliases.move("toy", "champion", 2, expected=1)
    await plans.refresh()
    assert plans.models_in_use() == {"toy/1"}
    return plans


async def test_a_head_that_one_scene_needs_keeps_the_old_version_everywhere(
    held_back: PlanLoader,
):
    assert "the alias moved, but scene 'feed' cannot follow" in held_back.problems()["search"]
    await held_back.aliases.move("toy", "champion", 1, expected=2)
    await held_back.refresh()
    assert held_back.problems() == {}


async def test_a_plan_published_meanwhile_stays_with_the_others(held_back: PlanLoader):
    weighted = {**SIMPLE, "formulas": {"base": {"score": "ctr * 2"}}}
    version = await held_back.store.publish("search", weighted, expected=1)
    assert await held_back.until_settled("search", version) is None
    live = held_back.snapshot("search")
    assert live is not None
    assert (live.version, live.models) == (2, {"toy/1"})
    assert "the alias moved, but scene 'feed' cannot follow" in held_back.problems()["search"]


async def test_a_draft_is_checked_over_the_models_that_it_would_get(held_back: PlanLoader):
    draft = parse_plan(PLAN)
    checked = await held_back.compiling.check(draft, await held_back.models(draft))
    assert checked.as_version(2).models == {"toy/1"}
    moved_to = await held_back.models(draft, {"toy": {"champion": 2}})
    assert (await held_back.compiling.check(draft, moved_to)).snapshot is None


async def test_when_the_one_scene_can_follow_all_do_at_once(held_back: PlanLoader):
    changed = {**SIMPLE, "scene": "feed"}
    await held_back.store.publish("feed", changed, expected=1)
    await held_back.refresh()
    await held_back.refresh()
    assert held_back.models_in_use() == {"toy/2"}
    assert held_back.problems() == {}


async def test_a_plan_that_needs_the_model_to_come_is_served_with_it(
    redis: Client, models_dir: Path, tmp_path: Path
):
    warm = asyncio.Event()

    async def prepare(ids: frozenset[str]) -> None:
        if "toy/2" in ids:
            await warm.wait()

    store = PlanStore(redis)
    await store.publish("search", SIMPLE, expected=None)
    plans = PlanLoader(
        redis,
        Repository(models_dir),
        prepare=prepare,
        state_dir=tmp_path / "state",
        replica="host:1",
    )
    await plans.start()
    publish_package(models_dir, heads=("ctr", "share"))
    await plans.aliases.move("toy", "champion", 2, expected=1)
    needs = {**SIMPLE, "formulas": {"base": {"score": "ctr * share"}}}
    await store.publish("search", needs, expected=1)
    why = await plans.until_settled("search", 2, patience_s=0.2)
    assert why == "its models are not loaded and rehearsed after 0.2 s"
    assert plans.models_in_use() == {"toy/1"}
    asyncio.get_running_loop().call_later(0.1, warm.set)
    assert await plans.until_settled("search", 2) is None
    live = plans.snapshot("search")
    assert live is not None
    assert (live.version, live.models) == (2, {"toy/2"})
    assert plans.problems() == {}
    await plans.close()


FAV = ("ctr", "ctcvr", "vcr", "fav")
NEEDS_FAV = plan(("formulas/sum/additive", {"ctr": 1.0, "fav": 4.0}))


async def replaced_head(
    redis: Client, models_dir: Path, tmp_path: Path, *scenes: str
) -> PlanLoader:
    """Serves scenes with toy/1; the champion is toy/2 by now, with `fav` in place of `like`."""
    store = PlanStore(redis)
    for scene in scenes:
        await store.publish(scene, plan(("scene", scene)), expected=None)
    plans = PlanLoader(
        redis, Repository(models_dir), prepare=nothing, state_dir=tmp_path / "s", replica="host:1"
    )
    await plans.start()
    publish_package(models_dir, heads=FAV)
    await plans.aliases.move("toy", "champion", 2, expected=1)
    await plans.refresh()
    assert plans.models_in_use() == {"toy/1"}
    return plans


def served(plans: PlanLoader) -> dict[str, tuple[int, frozenset[str]]]:
    found = {scene: plans.snapshot(scene) for scene in plans.scenes()}
    return {scene: (s.version, s.models) for scene, s in found.items() if s is not None}


async def test_a_plan_for_a_replaced_head_goes_live_with_the_alias(
    redis: Client, models_dir: Path, tmp_path: Path
):
    await PlanStore(redis).publish("search", SIMPLE, expected=None)
    plans = await replaced_head(redis, models_dir, tmp_path, "feed")
    await plans.store.publish("feed", NEEDS_FAV, expected=1)
    assert await plans.until_settled("feed", 2) is None
    assert served(plans) == {"feed": (2, {"toy/2"}), "search": (1, {"toy/2"})}
    assert plans.problems() == {}


async def test_plans_for_a_replaced_head_wait_for_those_of_other_scenes(
    redis: Client, models_dir: Path, tmp_path: Path
):
    plans = await replaced_head(redis, models_dir, tmp_path, "feed", "search")
    await plans.store.publish("feed", NEEDS_FAV, expected=1)
    why = await plans.until_settled("feed", 2)
    assert why is not None
    assert "model toy/1 has no head or attribute 'fav'" in why
    assert served(plans) == {"feed": (1, {"toy/1"}), "search": (1, {"toy/1"})}
    await plans.store.publish("search", {**NEEDS_FAV, "scene": "search"}, expected=1)
    assert await plans.until_settled("search", 2) is None
    assert served(plans) == {"feed": (2, {"toy/2"}), "search": (2, {"toy/2"})}
    assert plans.problems() == {}


async def test_a_plan_that_fits_no_model_holds_up_no_alias(
    redis: Client, models_dir: Path, tmp_path: Path
):
    store = PlanStore(redis)
    await store.publish("search", SIMPLE, expected=None)
    plans = await replaced_head(redis, models_dir, tmp_path, "feed")
    wrong = {**SIMPLE, "formulas": {"base": {"score": "ctr * none"}}}
    await store.publish("search", wrong, expected=1)
    await store.publish("feed", NEEDS_FAV, expected=1)
    await plans.refresh()
    assert plans.models_in_use() == {"toy/1"}
    await plans.refresh()
    assert served(plans) == {"feed": (2, {"toy/2"}), "search": (1, {"toy/2"})}
    await plans.refresh()
    assert plans.problems().keys() == {"search"}
    assert plans.problems()["search"].startswith("version 2 is refused: ")


async def test_the_scenes_of_a_group_are_made_ready_at_the_same_time(
    redis: Client, models_dir: Path, tmp_path: Path
):
    scenes, begun = {f"s{n}" for n in range(5)}, set[str]()
    all_begun = asyncio.Event()

    async def rehearse(snapshot: Snapshot) -> None:
        if "toy/2" in snapshot.models:
            begun.add(snapshot.scene)
            if begun == scenes:
                all_begun.set()
            await all_begun.wait()

    store = PlanStore(redis)
    for scene in scenes:
        await store.publish(scene, {**SIMPLE, "scene": scene}, expected=None)
    plans = PlanLoader(
        redis,
        Repository(models_dir),
        prepare=nothing,
        state_dir=tmp_path / "state",
        replica="host:1",
        rehearse=rehearse,
    )
    publish_package(models_dir)
    async with asyncio.timeout(30):
        await plans.start()
        await plans.aliases.move("toy", "champion", 2, expected=1)
        await plans.refresh()
        await all_begun.wait()
    await plans.close()


async def test_what_is_ready_stays_so_and_is_rehearsed_once_while_its_group_waits(
    redis: Client, tmp_path: Path
):
    """It is asked for at every look: else the pool would drop a model that only it needs."""
    models, now = Repository(tmp_path / "models"), 0.0
    for name in ("tiny", "other"):
        publish_tiny(models.root, name)
        publish_tiny(models.root, name, seed=5, champion=False)
    store = PlanStore(redis)
    slow = {**SIMPLE, "scene": "slow", "model": "tiny@champion"}
    await store.publish("slow", slow, expected=None)
    both = {**slow, "scene": "both", "shadow": {"model": "other@champion"}}
    await store.publish("both", both, expected=None)
    rehearsed, warm = Counter[tuple[str, str]](), asyncio.Event()

    async def rehearsal(scene: str, variants: Iterable[tuple[str, Snapshot]]) -> None:
        for id_, _ in variants:
            rehearsed[scene, id_] += 1
            if (scene, id_) == ("slow", "tiny/2"):
                await warm.wait()

    def no_store() -> FeatureStore:
        return FeatureStore.from_url("redis://127.0.0.1:1", 0.1)  # nothing is kept: not asked

    async def rehearse(snapshot: Snapshot) -> None:
        await take_over(snapshot)

    pool = ModelPool(models, grace_s=10.0, clock=lambda: now)
    plans = PlanLoader(
        redis,
        models,
        prepare=pool.ensure,
        state_dir=tmp_path / "state",
        replica="host:1",
        rehearse=rehearse,
    )
    take_over = TakingOver(plans.snapshot, pool, ItemCaches(0, 1.0), no_store, rehearsal, UNPACED)
    await plans.start()
    rehearsed.clear()
    for name in ("tiny", "other"):
        await plans.aliases.move(name, "champion", 2, expected=1)
    async with asyncio.timeout(30):
        while sum(rehearsed.values()) < 3:
            await plans.refresh()
    for _ in range(10):
        now += 6
        pool.retain(plans.models_in_use())
        await plans.refresh()
    assert plans.models_in_use() == {"tiny/1", "other/1"}
    assert pool.ids == ("other/1", "other/2", "tiny/1", "tiny/2")
    assert rehearsed == {("slow", "tiny/2"): 1, ("both", "tiny/2"): 1, ("both", "other/2"): 1}
    warm.set()
    async with asyncio.timeout(30):
        while plans.models_in_use() != {"tiny/2", "other/2"}:
            await plans.refresh()
    assert set(rehearsed.values()) == {1}
    await plans.close()
    await take_over.close()
    pool.close()
