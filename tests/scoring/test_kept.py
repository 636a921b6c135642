"""How a request asks the item cache of its model."""

from pathlib import Path

import pytest

from service.contract.repository import Repository
from service.scoring.item_caches import ItemCaches
from service.scoring.kept import ByContent, Kept, look_up
from service.scoring.package import LoadedModel, load_package
from tests.scoring.conftest import asked
from tests.scoring.cut_packages import publish_cut

CACHES = ItemCaches(1 << 20, 60.0)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    root = tmp_path_factory.mktemp("cut")
    publish_cut(root)
    return load_package(Repository(root), "cut", 1)


def test_items_without_features_are_looked_up_by_id_at_once(cut: LoadedModel) -> None:
    kept = look_up(CACHES, asked(["i1", "i2"]), cut)
    assert isinstance(kept, Kept)
    assert (kept.cache, kept.lease.missing_ids) == (CACHES.of(cut), ["i1", "i2"])


def test_items_with_features_are_looked_up_once_they_are_encoded(cut: LoadedModel) -> None:
    columns = {"videolen_s": [1.0, 2.0]}
    cache = CACHES.of(cut)
    assert cache is not None
    assert look_up(CACHES, asked(["i1", "i2"], item_columns=columns), cut) == ByContent(cache)
    assert look_up(CACHES, asked(["i1", "i2"], explain=True), cut) == ByContent(cache)


def test_without_a_cache_nothing_is_looked_up(cut: LoadedModel, models: Path) -> None:
    assert look_up(None, asked(["i1"]), cut) is None
    assert look_up(ItemCaches(0, 60.0), asked(["i1"]), cut) is None
    whole = load_package(Repository(models), "tiny", 1)
    assert look_up(CACHES, asked(["i1"], explain=True), whole) is None
