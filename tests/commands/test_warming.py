"""A version that takes over finds in its item cache what the one before had kept."""

from pathlib import Path

import redis

from tests.api.running import AUTH, PLAN, running
from tests.api.test_item_cache import answer, lookups, stored
from tests.features.conftest import valkey, valkey_server, valkey_url
from tests.scoring.cut_packages import publish_cut

__all__ = ["stored", "valkey", "valkey_server", "valkey_url"]


def test_promoted_version_misses_nothing_that_the_one_before_had_kept(
    stored: None, valkey: redis.Redis, valkey_url: str, tmp_path: Path
) -> None:
    publish_cut(tmp_path / "models")
    items = range(20, 50)
    with running(tmp_path / "models", valkey_url, tmp_path, item_cache_ttl_s=3600) as service:
        service.publish({**PLAN, "model": "cut@champion"})
        before = answer(service, items)
        publish_cut(tmp_path / "models", seed=1)
        moved = service.client.post("/v1/models/cut/promote", json={"version": 2}, headers=AUTH)
        assert moved.status_code == 200, moved.text
        hits, misses = lookups(service)
        after = answer(service, items)
        assert lookups(service) == (hits + len(items), misses)
    assert (before["model"], after["model"]) == ("cut/1", "cut/2")
    assert before["heads"] != after["heads"]
