"""A model is rehearsed once for each scene before it serves there, and again where that failed.

Each model for itself: nobody waits for a model that is not theirs, or hears why it failed.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from service.commands import warming
from service.commands.taking_over import TakingOver
from service.contract.errors import PackageError
from service.contract.repository import Repository
from service.experiment.snapshot import Snapshot
from service.features.store import FeatureStore
from service.scoring.item_caches import ItemCaches
from service.scoring.pace import UNPACED
from service.scoring.pool import ModelPool
from tests.scoring.conftest import compiled
from tests.scoring.packages import publish_tiny


class Rehearsals:
    """Notes what is rehearsed; tiny/1 when it is let to; those fail that are bad."""

    def __init__(self) -> None:
        self.of: list[tuple[str, str]] = []
        self.left: list[str] = []
        self.began, self.let_go = asyncio.Event(), asyncio.Event()
        self.bad: set[str] = set()
        self.let_go.set()

    async def __call__(self, scene: str, variants: Iterable[tuple[str, Snapshot]]) -> None:
        for id_, _ in variants:
            self.of.append((scene, id_))
            self.began.set()
            if id_ == "tiny/1":
                try:
                    await self.let_go.wait()
                except asyncio.CancelledError:
                    self.left.append(id_)
                    raise
            if id_ in self.bad:
                raise PackageError(f"{id_}: head 'ctr' is not finite")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    publish_tiny(root)
    publish_tiny(root, seed=5)
    return root


@pytest.fixture
async def pool(models: Path) -> AsyncIterator[ModelPool]:
    pool = ModelPool(Repository(models))
    await pool.ensure(["tiny/1", "tiny/2"])
    yield pool
    pool.close()


def taking_over(pool: ModelPool, rehearsals: Rehearsals, *live: Snapshot) -> TakingOver:
    def store() -> FeatureStore:
        return FeatureStore.from_url("redis://127.0.0.1:1", 0.1)  # nothing is kept: nobody asks it

    by_scene = {snapshot.scene: snapshot for snapshot in live}
    return TakingOver(by_scene.get, pool, ItemCaches(0, 1.0), store, rehearsals, UNPACED)


async def test_whoever_asks_again_finds_the_model_ready(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    take_over = taking_over(pool, rehearsals)
    for version in (1, 1, 2):
        await take_over(compiled(models, version=version))
    assert rehearsals.of == [("feed", "tiny/1")]


async def test_a_model_is_rehearsed_where_it_is_not_live(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    feed = compiled(models)
    take_over = taking_over(pool, rehearsals, feed)
    await take_over(feed)
    assert rehearsals.of == []
    await take_over(replace(feed, scene="search"))
    assert rehearsals.of == [("search", "tiny/1")]


async def test_who_asks_meanwhile_waits_for_the_same_rehearsal(
    models: Path, pool: ModelPool
) -> None:
    rehearsals = Rehearsals()
    rehearsals.let_go.clear()
    take_over = taking_over(pool, rehearsals)
    asking = [asyncio.create_task(take_over(compiled(models))) for _ in range(3)]
    await rehearsals.began.wait()
    asking.pop(0).cancel()
    rehearsals.let_go.set()
    await asyncio.gather(*asking)
    assert rehearsals.of == [("feed", "tiny/1")]


async def leave(*asking: asyncio.Task[None]) -> None:
    """Give up, as a preparation does that a newer plan supersedes."""
    for one in asking:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await asyncio.sleep(0)  # a run hears of it once more


async def test_a_run_that_nobody_waits_for_any_more_ends(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    rehearsals.let_go.clear()
    take_over = taking_over(pool, rehearsals)
    asking = [asyncio.create_task(take_over(compiled(models))) for _ in range(2)]
    await rehearsals.began.wait()
    await leave(asking.pop())
    assert rehearsals.left == []
    await leave(asking.pop())
    assert rehearsals.left == ["tiny/1"]


async def test_the_models_of_a_run_that_was_left_are_held_no_longer(models: Path) -> None:
    now = 0.0
    pool = ModelPool(Repository(models), grace_s=10.0, clock=lambda: now)
    await pool.ensure(["tiny/1"])
    rehearsals = Rehearsals()
    rehearsals.let_go.clear()
    asking = asyncio.create_task(taking_over(pool, rehearsals)(compiled(models)))
    await rehearsals.began.wait()
    await leave(asking)
    now += 11
    pool.retain([])
    assert pool.ids == ()
    pool.close()


async def test_who_comes_back_as_a_run_is_left_waits_for_another(
    models: Path, pool: ModelPool
) -> None:
    rehearsals = Rehearsals()
    rehearsals.let_go.clear()
    take_over = taking_over(pool, rehearsals)
    asking = asyncio.create_task(take_over(compiled(models)))
    await rehearsals.began.wait()
    asking.cancel()
    asking.add_done_callback(lambda _: rehearsals.let_go.set())
    with pytest.raises(asyncio.CancelledError):
        await asking
    await take_over(compiled(models, version=2))
    assert rehearsals.of == [("feed", "tiny/1")] * 2


async def test_only_the_run_that_another_plan_needs_goes_on(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    rehearsals.let_go.clear()
    take_over = taking_over(pool, rehearsals)
    both = asyncio.create_task(take_over(compiled(models, shadow={"model": "tiny/2"})))
    await rehearsals.began.wait()
    one = asyncio.create_task(take_over(compiled(models, version=2)))
    await asyncio.sleep(0)
    await leave(both)
    rehearsals.let_go.set()
    await one
    assert (rehearsals.left, rehearsals.of.count(("feed", "tiny/1"))) == ([], 1)


async def test_all_who_wait_hear_why_a_model_failed(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    rehearsals.bad = {"tiny/1"}
    take_over = taking_over(pool, rehearsals)
    asking = [take_over(compiled(models)) for _ in range(2)]
    for failed in await asyncio.gather(*asking, return_exceptions=True):
        assert str(failed) == "tiny/1: head 'ctr' is not finite"
    assert len(rehearsals.of) == 1


async def test_who_needs_one_of_two_models_waits_for_that_one_alone(
    models: Path, pool: ModelPool
) -> None:
    rehearsals = Rehearsals()
    rehearsals.let_go.clear()
    rehearsals.bad = {"tiny/1"}
    take_over = taking_over(pool, rehearsals)
    both = asyncio.create_task(take_over(compiled(models, shadow={"model": "tiny/2"})))
    await rehearsals.began.wait()
    await take_over(compiled(models, model="tiny/2", version=2))
    assert not both.done()
    rehearsals.let_go.set()
    with pytest.raises(PackageError, match=r"^tiny/1: head 'ctr' is not finite$"):
        await both
    assert sorted(rehearsals.of) == [("feed", "tiny/1"), ("feed", "tiny/2")]


async def test_a_model_that_fails_leaves_no_other_behind(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    rehearsals.let_go.clear()
    rehearsals.bad = {"tiny/2"}
    take_over = taking_over(pool, rehearsals)
    both = asyncio.create_task(take_over(compiled(models, shadow={"model": "tiny/2"})))
    with pytest.raises(PackageError, match=r"^tiny/2: head 'ctr' is not finite$"):
        await take_over(compiled(models, model="tiny/2", version=2))
    assert not both.done(), "it waits for tiny/1"
    rehearsals.let_go.set()
    with pytest.raises(PackageError, match=r"^tiny/2: head 'ctr' is not finite$"):
        await both
    await take_over(compiled(models, version=3))
    assert rehearsals.of.count(("feed", "tiny/1")) == 1


async def test_a_model_that_is_ready_stays_while_the_others_of_its_plan_get_ready(
    models: Path,
) -> None:
    now = 0.0
    pool = ModelPool(Repository(models), grace_s=10.0, clock=lambda: now)
    await pool.ensure(["tiny/1", "tiny/2"])
    rehearsals = Rehearsals()
    take_over = taking_over(pool, rehearsals)
    await take_over(compiled(models, model="tiny/2"))
    rehearsals.let_go.clear()
    rehearsals.began.clear()
    both = asyncio.create_task(take_over(compiled(models, shadow={"model": "tiny/2"})))
    await rehearsals.began.wait()
    now += 60
    pool.retain([])
    assert pool.ids == ("tiny/1", "tiny/2")
    rehearsals.let_go.set()
    await both
    pool.retain([])
    assert pool.ids == ("tiny/1", "tiny/2"), "and until it had the time to go live"
    now += 11
    pool.retain([])
    assert pool.ids == ()
    pool.close()


class Noting(FeatureStore):
    """Notes that it was closed."""

    closed = False

    async def close(self) -> None:
        await super().close()
        self.closed = True


async def test_the_store_is_closed_when_it_is_left_before_it_was_asked(
    models: Path, pool: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, let_go = threading.Event(), threading.Event()

    def slow(*_: object) -> dict[str, float]:
        began.set()
        assert let_go.wait(10)
        return {}

    monkeypatch.setattr(warming, "_used_at", slow)
    store = Noting.from_url("redis://127.0.0.1:1", 0.1)
    take_over = TakingOver(
        lambda _: None, pool, ItemCaches(0, 1.0), lambda: store, Rehearsals(), UNPACED
    )
    asking = asyncio.create_task(take_over(compiled(models)))
    assert await asyncio.to_thread(began.wait, 10)
    await take_over.close()
    let_go.set()
    assert store.closed
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_closing_leaves_what_is_in_progress(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    rehearsals.let_go.clear()
    take_over = taking_over(pool, rehearsals)
    asking = asyncio.create_task(take_over(compiled(models)))
    await rehearsals.began.wait()
    await take_over.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_model_that_failed_is_rehearsed_again(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    rehearsals.bad = {"tiny/1"}
    take_over = taking_over(pool, rehearsals)
    with pytest.raises(PackageError, match="head 'ctr' is not finite"):
        await take_over(compiled(models))
    rehearsals.bad = set()
    await take_over(compiled(models))
    assert len(rehearsals.of) == 2


async def test_a_model_that_was_loaded_anew_is_rehearsed_anew(
    models: Path, pool: ModelPool
) -> None:
    rehearsals = Rehearsals()
    take_over = taking_over(pool, rehearsals)
    await take_over(compiled(models))
    del pool._models["tiny/1"]
    await pool.ensure(["tiny/1"])
    await take_over(compiled(models))
    assert len(rehearsals.of) == 2
