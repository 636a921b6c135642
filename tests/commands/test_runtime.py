"""The service over its embedded store: nothing to install, nothing lost between starts."""

import contextlib
import os
import signal
import time
from typing import Any

import pytest
import redis

from service.commands.runtime import build_runtime, comes_in
from service.scoring.admission import Admission, Overloaded
from service.settings import load_settings
from tests.api.running import PLAN, running
from tests.scoring.packages import publish_tiny


def synced_since(health: dict[str, Any], instant: float) -> bool:
    """Whether the store has been read after a monotonic instant."""
    return time.monotonic() - health["store"].get("synced_s_ago", 1e9) > instant + 0.2


@pytest.fixture
def models(tmp_path):
    publish_tiny(tmp_path / "models")
    return tmp_path / "models"


def test_plans_survive_a_restart_of_the_embedded_store(models, tmp_path):
    with running(models, "embedded", tmp_path / "state") as service:
        version = service.publish(PLAN)
        assert service.runtime.store_url.startswith("unix://")
    with running(models, "embedded", tmp_path / "state") as service:
        assert service.client.get("/v1/plans/feed").json()["version"] == version
        assert service.client.get("/readyz").status_code == 200


def test_a_killed_embedded_store_comes_back_by_itself(models, tmp_path):
    """Scenes rank all the while, and plans are written afterwards as before."""

    def health():
        return service.client.get("/healthz").json()

    def wait(until):
        end = time.monotonic() + 30
        while not until():
            assert time.monotonic() < end, health()
            time.sleep(0.05)

    with running(models, "embedded", tmp_path / "state") as service:
        version = service.publish(PLAN)
        with redis.Redis.from_url(service.runtime.store_url) as server:
            server.execute_command("WAITAOF", 1, 0, 5000)
            os.kill(int(server.info("server")["process_id"]), signal.SIGKILL)
        assert service.rank({"scene": "feed", "items": []}).status_code == 200
        asked = time.monotonic()
        wait(lambda: health()["status"] == "ok" and synced_since(health(), asked))
        assert service.client.get("/v1/plans/feed").json()["version"] == version
        assert service.publish({**PLAN, "deadline_ms": 30}) == version + 1


def test_two_services_of_one_machine_share_the_embedded_store(models, tmp_path):
    with (
        running(models, "embedded", tmp_path / "state") as one,
        running(models, "embedded", tmp_path / "state") as other,
    ):
        assert one.runtime.store_url == other.runtime.store_url
        version = one.publish(PLAN)
        assert other.client.get("/v1/plans/feed").json()["version"] == version


def test_a_store_that_cannot_be_understood_is_named_without_its_password(models, tmp_path):
    settings = load_settings(models=models, store="http://me:secret@host", state_dir=tmp_path)
    with pytest.raises(ValueError, match=r"store 'http://me:\*\*\*@host': "):
        build_runtime(settings)


def test_the_thread_budget_can_be_set_and_is_shown(models, tmp_path):
    with running(models, "redis://127.0.0.1:9/0", tmp_path / "state") as service:
        assert "finerank_inference_threads 2.0" in service.client.get("/metrics").text


def test_requests_come_in_though_none_of_them_is_let_in() -> None:
    now = 100.0
    admission = Admission(1, lambda: now)
    assert not comes_in(admission)
    waiting = [admission.enter(0.040)]  # nothing is known of what it brings
    assert comes_in(admission)
    admission.saw(500, 0.010)
    with contextlib.suppress(Overloaded):
        while True:
            waiting.append(admission.enter(0.040))
    for ticket in waiting:
        ticket.leave()
    now = 101.0
    assert admission.in_progress == 0
    assert comes_in(admission)
    now = 110.0
    assert not comes_in(admission)
