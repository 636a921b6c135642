"""What the first request would have waited for has run before it, and left no trace."""

from pathlib import Path

import redis
from structlog.testing import capture_logs

from tests.api.running import PLAN, running
from tests.api.test_item_cache import answer, lookups, stored
from tests.features.conftest import valkey, valkey_server, valkey_url
from tests.scoring.cut_packages import publish_cut

__all__ = ["stored", "valkey", "valkey_server", "valkey_url"]


def test_restarted_service_has_run_its_model_and_remembers_nothing_of_it(
    stored: None, valkey: redis.Redis, valkey_url: str, tmp_path: Path
) -> None:
    publish_cut(tmp_path / "models")
    items = range(20, 50)
    with running(tmp_path / "models", valkey_url, tmp_path, item_cache_ttl_s=3600) as service:
        service.publish({**PLAN, "model": "cut@champion"})
        before = answer(service, items)
    with (
        capture_logs() as logs,
        running(tmp_path / "models", valkey_url, tmp_path, item_cache_ttl_s=3600) as service,
    ):
        parts = service.runtime.parts
        assert parts.scorer.items is not None
        assert parts.scorer.items.bytes() == {"cut/1": 0}, "there, and empty"
        assert parts.scorer.admission.typical_s == 0.0
        assert parts.scorer.costs.predictions(500) == {}
        after = answer(service, items)
        assert lookups(service) == (0, len(items))
    assert not [line for line in logs if line["event"] == "first_run_failed"]
    assert before["heads"] == after["heads"]
