"""A version that takes over finds in its item cache what the one before had kept."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from service.commands import warming
from tests.api.running import AUTH, PLAN, running
from tests.api.test_item_cache import answer, lookups, stored
from tests.features.conftest import valkey, valkey_server, valkey_url
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


def publish_again(directory: Path) -> None:
    """Version 2, with the weights of version 1: an export takes its time."""
    shutil.copytree(directory / "1", directory / "2")
    path = directory / "2" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"version": 2}))


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
