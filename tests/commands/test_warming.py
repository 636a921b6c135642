"""A version that takes over finds in its item cache what the one before had kept."""

import json
import shutil
from pathlib import Path

import redis

from tests.api.running import AUTH, PLAN, running
from tests.api.test_item_cache import answer, lookups, stored
from tests.features.conftest import valkey, valkey_server, valkey_url
from tests.scoring.cut_packages import publish_cut

__all__ = ["stored", "valkey", "valkey_server", "valkey_url"]


def publish_again(directory: Path) -> None:
    """Version 2, with the weights of version 1: an export takes its time."""
    shutil.copytree(directory / "1", directory / "2")
    path = directory / "2" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"version": 2}))


def test_promoted_version_misses_nothing_that_the_one_before_had_kept(
    stored: None, valkey: redis.Redis, valkey_url: str, tmp_path: Path
) -> None:
    publish_cut(tmp_path / "models")
    items = range(20, 50)
    with running(tmp_path / "models", valkey_url, tmp_path, item_cache_ttl_s=3600) as service:
        service.publish({**PLAN, "model": "cut@champion"})
        before = answer(service, items)
        publish_again(tmp_path / "models" / "cut")
        moved = service.client.post("/v1/models/cut/promote", json={"version": 2}, headers=AUTH)
        assert moved.status_code == 200, moved.text
        hits, misses = lookups(service)
        after = answer(service, items)
        assert lookups(service) == (hits + len(items), misses)
    assert (before["model"], after["model"]) == ("cut/1", "cut/2")
    assert before["heads"] == after["heads"]
