"""A version that takes over finds in its item cache what the one before had kept."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.commands import warming
from service.commands.warming import warm_like
from service.contract.repository import Repository
from service.features.store import FeatureStore, Fetched
from service.scoring.item_cache import ItemCache
from service.scoring.item_caches import ItemCaches
from service.scoring.kept import Kept
from service.scoring.pace import Pace
from service.scoring.pool import ModelPool
from service.scoring.prepared import fill
from tests.api.running import AUTH, PLAN, running
from tests.api.test_item_cache import answer, lookups, stored
from tests.features.conftest import valkey, valkey_server, valkey_url
from tests.scoring.conftest import compiled
from tests.scoring.cut_packages import publish_cut

__all__ = ["stored", "valkey", "valkey_server", "valkey_url"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cut model, exported once."""
    root = tmp_path_factory.mktemp("exported")
    publish_cut(root)
    return root


@pytest.fixture
def models(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "models"))


def publish_again(directory: Path, version: int = 2) -> None:
    """One more version, with the weights of version 1: an export takes its time."""
    shutil.copytree(directory / "1", directory / str(version))
    path = directory / str(version) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"version": version}))


def promoted_over(
    models: Path, valkey_url: str, state: Path, items: range
) -> tuple[Any, Any, tuple[float, float]]:
    """The answers of version 1 and of version 2, and how many items hit and missed in the last."""
    with running(models, valkey_url, state, item_cache_ttl_s=3600) as service:
        service.publish({**PLAN, "model": "cut@champion"})
        before = answer(service, items)
        for _ in range(8):  # the requests that a version rehearses have one of the items
            answer(service, items[:1])
        publish_again(models / "cut")
        moved = service.client.post("/v1/models/cut/promote", json={"version": 2}, headers=AUTH)
        assert moved.status_code == 200, moved.text
        hits, misses = lookups(service)
        after = answer(service, items)
        now_hits, now_misses = lookups(service)
    return before, after, (now_hits - hits, now_misses - misses)


def test_promoted_version_misses_nothing_that_the_one_before_had_kept(
    stored: None, valkey_url: str, models: Path, tmp_path: Path
) -> None:
    before, after, found = promoted_over(models, valkey_url, tmp_path, range(20, 50))
    assert found == (30, 0)
    assert (before["model"], after["model"]) == ("cut/1", "cut/2")
    assert before["heads"] == after["heads"]


def test_a_version_waits_no_longer_for_its_items_than_it_is_given(
    stored: None, valkey_url: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "PATIENCE_S", 0.0)
    _, after, found = promoted_over(models, valkey_url, tmp_path, range(20, 50))
    assert after["model"] == "cut/2"
    assert found == (1, 29)


@dataclass(frozen=True)
class RestsFor(Pace):
    """Rests for so long, whatever was done."""

    seconds: float = 0.0

    def pauses(self, worked_s: float) -> Iterator[float]:
        yield self.seconds


@pytest.fixture
async def pool(models: Path) -> AsyncIterator[ModelPool]:
    """Versions 1, 2 and 3, all loaded."""
    for version in (2, 3):
        publish_again(models / "cut", version)
    pool = ModelPool(Repository(models))
    await pool.ensure(["cut/1", "cut/2", "cut/3"])
    yield pool
    pool.close()


def cache_of(pool: ModelPool, caches: ItemCaches, id_: str) -> ItemCache:
    model = pool.get(id_)
    assert model is not None
    cache = caches.of(model)
    assert cache is not None
    return cache


def use(pool: ModelPool, caches: ItemCaches, id_: str, items: list[str]) -> None:
    """As a request does that finds none of them in the store."""
    cache, model = cache_of(pool, caches, id_), pool.get(id_)
    assert model is not None
    fill(model, Kept(cache, cache.look_up("feed", items)), Fetched.nothing(len(items)))


async def test_each_version_that_takes_over_has_a_patience_of_its_own(
    valkey_url: str, models: Path, pool: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "PATIENCE_S", 2.0)
    caches = ItemCaches(1 << 20, 60.0)
    for item in ("i1", "i2"):
        use(pool, caches, "cut/1", [item])
    snapshot = compiled(models, model="cut/1")
    slow = RestsFor(lambda: True, seconds=2.1)

    async def warm(id_: str) -> list[str]:
        store = FeatureStore.from_url(valkey_url, 5.0)
        await warm_like(snapshot, id_, ["cut/1"], pool, caches, store, slow)
        return list(cache_of(pool, caches, id_).used_at("feed"))

    monkeypatch.setattr(warming, "BESIDE", 1)
    assert await asyncio.gather(warm("cut/2"), warm("cut/3")) == [["i2"], ["i2"]]


async def test_warmed_items_count_as_used_when_the_version_before_used_them(
    valkey_url: str, models: Path, pool: ModelPool
) -> None:
    caches = ItemCaches(1 << 20, 60.0)
    for item in ("i3", "i1", "i2"):
        use(pool, caches, "cut/1", [item])
    store = FeatureStore.from_url(valkey_url, 5.0)
    await warm_like(compiled(models, model="cut/1"), "cut/2", ["cut/1"], pool, caches, store)
    warmed = cache_of(pool, caches, "cut/2").used_at("feed")
    assert list(warmed) == ["i2", "i1", "i3"]
    assert warmed == cache_of(pool, caches, "cut/1").used_at("feed")


async def test_an_item_of_several_versions_was_used_when_the_last_of_them_used_it(
    valkey_url: str, models: Path, pool: ModelPool
) -> None:
    caches = ItemCaches(1 << 20, 60.0)
    for id_, item in (("cut/1", "i1"), ("cut/1", "i2"), ("cut/2", "i1")):
        use(pool, caches, id_, [item])
    store = FeatureStore.from_url(valkey_url, 5.0)
    live = ["cut/2", "cut/1"]
    await warm_like(compiled(models, model="cut/1"), "cut/3", live, pool, caches, store)
    assert list(cache_of(pool, caches, "cut/3").used_at("feed")) == ["i1", "i2"]
