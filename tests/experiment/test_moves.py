"""Alias moves are followed by all the scenes they concern, or by none."""

from pathlib import Path

from service.contract.repository import Repository
from service.experiment.connection import Client
from service.experiment.loader import PlanLoader
from service.experiment.moves import follow, groups, moved, refused_by_others
from service.experiment.store import PlanStore
from tests.experiment.packages import PLAN, plan, publish_package

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


async def test_a_head_that_one_scene_needs_keeps_the_old_version_everywhere(
    redis: Client, models_dir: Path, tmp_path: Path
):
    store = PlanStore(redis)
    simple = ("formulas", {"base": {"score": "ctr"}})
    other = plan(("scene", "search"), simple, ("layers", []), ("force", {}))
    await store.publish("feed", PLAN, expected=None)
    await store.publish("search", other, expected=None)
    plans = PlanLoader(
        redis,
        Repository(tmp_path / "models"),
        prepare=nothing,
        state_dir=tmp_path / "state",
        replica="host:1",
    )
    await plans.start()
    assert plans.scenes() == ["feed", "search"]
    publish_package(tmp_path / "models", heads=("ctr",))
    await plans.aliases.move("toy", "champion", 2, expected=1)
    await plans.refresh()
    assert plans.models_in_use() == {"toy/1"}
    assert "the alias moved, but scene 'feed' cannot follow" in plans.problems()["search"]
    await plans.aliases.move("toy", "champion", 1, expected=2)
    await plans.refresh()
    assert plans.problems() == {}
