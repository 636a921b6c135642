"""A model is rehearsed once for each scene before it serves there, and again where that failed."""

from collections.abc import AsyncIterator, Iterable
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
    """Notes what is rehearsed; fails as long as it is told to."""

    def __init__(self) -> None:
        self.of: list[tuple[str, str]] = []
        self.fails = False

    async def __call__(self, scene: str, variants: Iterable[tuple[str, Snapshot]]) -> None:
        self.of += [(scene, id_) for id_, _ in variants]
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


def taking_over(
    pool: ModelPool, rehearsals: Rehearsals, live: frozenset[str] = frozenset()
) -> TakingOver:
    def store() -> FeatureStore:
        return FeatureStore.from_url("redis://127.0.0.1:1", 0.1)  # nothing is kept: nobody asks it

    return TakingOver(lambda: live, pool, ItemCaches(0, 1.0), store, rehearsals, UNPACED)


async def test_whoever_asks_again_finds_the_model_ready(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    take_over = taking_over(pool, rehearsals)
    for version in (1, 1, 2):
        await take_over(compiled(models, version=version))
    assert rehearsals.of == [("feed", "tiny/1")]


async def test_a_live_model_is_not_rehearsed(models: Path, pool: ModelPool) -> None:
    rehearsals = Rehearsals()
    await taking_over(pool, rehearsals, frozenset(["tiny/1"]))(compiled(models))
    assert rehearsals.of == []


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
