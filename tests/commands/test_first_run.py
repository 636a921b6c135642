"""What the first request would have waited for has run before it, and left no trace."""

from pathlib import Path

import redis
from structlog.testing import capture_logs

from tests.api.running import PLAN, running
from tests.api.test_item_cache import answer, lookups, stored
from tests.features.conftest import valkey, valkey_server, valkey_url
from tests.scoring.cut_packages import publish_cut
from tests.scoring.graphs import HEADS
from tests.scoring.packages import publish_tiny

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


def test_arm_whose_model_lacks_a_head_of_the_default_stops_no_start(
    valkey_url: str, tmp_path: Path
) -> None:
    root = tmp_path / "models"
    publish_tiny(root, "tiny")
    publish_tiny(root, "no-like", heads=[head for head in HEADS if head != "like"])
    arm = {"name": "treatment", "share": 100, "set": {"model": "no-like", "formula": "base"}}
    experiment = {"name": "e", "buckets": [[0, 999]], "arms": [arm]}
    layer = {"name": "l", "salt": "l", "unit": "user_id", "experiments": [experiment]}
    plan = {**PLAN, "default": {"formula": "sum"}, "layers": [layer], "force": {}}
    with running(root, valkey_url, tmp_path) as service:
        service.publish(plan)
    with capture_logs() as logs, running(root, valkey_url, tmp_path) as service:
        body = {"scene": "feed", "user": {"id": "u"}, "candidates": {"ids": ["i1", "i2"]}}
        assert service.rank(body).status_code == 200
    assert not [line for line in logs if line["event"] == "first_run_failed"]
