"""A model is rehearsed once for each scene before it serves there, and again where that failed."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

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
    """Notes what is rehearsed, while it is let; fails as long as it is told to."""

    def __init__(self) -> None:
        self.of: list[tuple[str, str]] = []
        self.began, self.let_go, self.fails = asyncio.Event(), asyncio.Event(), False
        self.let_go.set()

    async def __call__(self, scene: str, variants: Iterable[tuple[str, Snapshot]]) -> None:
        self.of += [(scene, id_) for id_, _ in variants]
        self.began.set()
        await self.let_go.wait()
        if self.fails:
            raise PackageError("tiny/1: head 'ctr' is not finite")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    publish_tiny(root)
    return root


@pytest.fixture
async def pool(models: Path) -> AsyncIterator[ModelPool]:
    pool = ModelPool(Repository(models))
    await pool.ensure(["tiny/1"])
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


async def test_all_who_wait_hear_why_a_model_failed(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    rehearsals.fails = True
    take_over = taking_over(pool, rehearsals)
    asking = [take_over(compiled(models)) for _ in range(2)]
    for failed in await asyncio.gather(*asking, return_exceptions=True):
        assert str(failed) == "tiny/1: head 'ctr' is not finite"
    assert len(rehearsals.of) == 1


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
    rehearsals.fails = True
    take_over = taking_over(pool, rehearsals)
    with pytest.raises(PackageError, match="head 'ctr' is not finite"):
        await take_over(compiled(models))
    rehearsals.fails = False
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
