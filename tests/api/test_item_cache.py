"""Over HTTP: the same request gives the same bytes whether the item cache is cold, warm or off."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import redis

from service.features.load import load_file
from tests.api.running import PLAN, Running, running
from tests.features.conftest import valkey, valkey_server, valkey_url
from tests.scoring.cut_packages import publish_cut
from tests.scoring.packages import raw_rows

__all__ = ["valkey", "valkey_server", "valkey_url"]

ITEMS = 60


@pytest.fixture(scope="module")
def cut_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cut")
    publish_cut(root)
    return root


@pytest.fixture
def stored(valkey: redis.Redis) -> None:
    for row, raw in enumerate(raw_rows(3, ITEMS)):
        valkey.set(f"finerank:f:feed:user:u{row}", orjson.dumps(raw["user"]["features"]))
        valkey.set(f"finerank:f:feed:item:i{row}", orjson.dumps(raw["item"]["features"]))
    valkey.set("finerank:f:feed:item:i5", b"{")


def answer(service: Running, numbers: Any, user: str = "u7") -> dict[str, Any]:
    """The reply without what differs between equal requests."""
    items = [f"i{n}" for n in numbers]
    document = {"scene": "feed", "user": {"id": user}, "candidates": {"ids": items}}
    reply = service.rank(document)
    assert reply.status_code == 200, reply.text
    return {k: v for k, v in reply.json().items() if k not in ("took_ms", "request_id")}


def lookups(service: Running, by: str = "id") -> tuple[float, float]:
    lines = service.client.get("/metrics").text.splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if "item_cache_lookups_total{" in line)
    name = "finerank_item_cache_lookups_total"
    return tuple(  # type: ignore[return-value]
        float(found.get(f'{name}{{by="{by}",result="{r}",scene="feed"}}', 0))
        for r in ("hit", "miss")
    )


@pytest.fixture
def plan() -> dict[str, Any]:
    return {**PLAN, "model": "cut@champion"}


def test_cold_warm_and_cacheless_replies_are_the_same_bytes(
    cut_models: Path, stored: None, valkey_url: str, tmp_path: Path, plan: dict[str, Any]
) -> None:
    random = np.random.default_rng(2)
    asked = [random.permutation(ITEMS)[:count] for count in (1, 2, 7, 40, 60)]
    with running(cut_models, valkey_url, tmp_path / "off", item_cache_mb=0) as service:
        service.publish(plan)
        plain = [json.dumps(answer(service, rows)) for rows in asked]
        assert lookups(service) == (0, 0)
    with running(cut_models, valkey_url, tmp_path / "on") as service:
        mixed = [json.dumps(answer(service, rows)) for rows in asked]
        warm = [json.dumps(answer(service, rows)) for rows in asked]
        hits, misses = lookups(service)
        assert hits + misses == 2 * sum(map(len, asked))
        assert misses >= ITEMS
        assert 'finerank_item_cache_bytes{model="cut/1"}' in service.client.get("/metrics").text
    with running(cut_models, valkey_url, tmp_path / "warm", warm_items="all") as service:
        warmed = [json.dumps(answer(service, rows)) for rows in asked]
        assert lookups(service)[0] > 0
    assert plain == mixed == warm == warmed


def test_items_that_bring_features_have_the_same_replies_whatever_was_kept(
    cut_models: Path, stored: None, valkey_url: str, tmp_path: Path, plan: dict[str, Any]
) -> None:
    ids, lengths = [f"i{n}" for n in range(16)], [10.0 + n for n in range(16)]
    columns = {"candidates": {"ids": ids, "features": {"videolen_s": lengths}}}
    rows = {
        "items": [
            {"id": id_, "features": {"videolen_s": length}}
            for id_, length in zip(ids, lengths, strict=True)
        ]
    }

    def answers(service: Running) -> set[str]:
        replies = []
        for form in (columns, rows) * 8:
            reply = service.rank({"scene": "feed", "user": {"id": "u7"}, **form})
            assert reply.status_code == 200, reply.text
            body = {k: v for k, v in reply.json().items() if k not in ("took_ms", "request_id")}
            replies.append(json.dumps(body))
        return set(replies)

    with running(cut_models, valkey_url, tmp_path / "off", item_cache_mb=0) as service:
        service.publish(plan)
        plain = answers(service)
        assert lookups(service, "content") == (0, 0)
    with running(cut_models, valkey_url, tmp_path / "on") as service:
        assert answers(service) == plain
        hits, misses = lookups(service, "content")
        assert hits + misses == 16 * 16
        assert hits >= 6 * 16  # all of them known after ten requests at most
        assert lookups(service) == (0, 0)
    assert len(plain) == 2  # each form has its own reply


def test_loaded_items_show_in_the_next_reply(
    cut_models: Path, stored: None, valkey_url: str, tmp_path: Path, plan: dict[str, Any]
) -> None:
    with running(cut_models, valkey_url, tmp_path, item_cache_ttl_s=3600) as service:
        service.publish(plan)
        before = answer(service, [1, 2, 3])
        assert answer(service, [1, 2, 3]) == before
        file = tmp_path / "items.jsonl"
        file.write_text('{"id": "i2", "videolen_s": 500, "author_id": "a3"}\n')
        load_file(valkey_url, "feed", "item", file)
        while answer(service, [1, 2, 3]) == before:
            pass  # the message is on its way; the test's own timeout ends this


@pytest.mark.parametrize(
    ("name", "content"), [("ids.txt", "i1\ni2\n\n"), ("items.jsonl", '{"id": "i1"}\n{"id": "i2"}')]
)
def test_items_of_a_file_are_warm_at_the_first_request(
    cut_models: Path,
    stored: None,
    valkey_url: str,
    tmp_path: Path,
    plan: dict[str, Any],
    name: str,
    content: str,
) -> None:
    with running(cut_models, valkey_url, tmp_path / "first") as service:
        service.publish(plan)
    (tmp_path / name).write_text(content)
    with running(cut_models, valkey_url, tmp_path, warm_items=str(tmp_path / name)) as service:
        answer(service, [1, 2, 3])
        assert lookups(service) == (2, 1)
