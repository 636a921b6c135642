"""What peers get wrong while plans, models and features change under traffic."""

import copy
import json
import shutil
import threading
from pathlib import Path
from typing import Any

from service.features.load import load_file
from tests.api.running import AUTH
from tests.commands.conftest import Command
from tests.peer_traps.demo_package import DEMO, publish_demo
from tests.peer_traps.scene import TREATED, Scene, by_id, experiment, heads_of, is_close
from tests.scoring.packages import publish_tiny


def unchanging(reply: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in reply.items() if k not in ("took_ms", "request_id")}


def test_a_plan_that_is_wrong_somewhere_changes_nothing_anywhere(scene: Scene) -> None:
    # a reload that fails half-way leaves a mixture of old and new parts (PAI-Rec)
    scene.publish({"score": "ctr + b * vcr", "params": {"b": 1.0}}, **experiment(params={"b": 2}))
    users = ({"id": "u7"}, TREATED)
    before = [unchanging(scene.rank(user=user)) for user in users]
    document = scene.plan({"score": "like - b", "params": {"b": 1.0}}, deadline_ms=1000)
    wrong = {
        "force": {"force": {"x": {"nolayer": "test/arm"}}},
        "arms": experiment(params={"b": 99}),
        "model": {"model": "tiny@nobody"},
        "last formula": {"formulas": document["formulas"] | {"other": {"score": "ctr *"}}},
    }
    for part, change in wrong.items():
        answer = scene.service.put(copy.deepcopy(document) | change, scene.name)
        assert answer.status_code == 422, (part, answer.text)
        assert [unchanging(scene.rank(user=user)) for user in users] == before, part


def test_every_reply_is_of_one_plan_while_plans_change_under_it(scene: Scene) -> None:
    # reload that is not thread-safe (MetaSpore)
    weights = {scene.publish("1 * ctr + 1 * vcr", deadline_ms=2001): 1}
    done, replies = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            replies.append(scene.rank())

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    for weight in range(2, 17):
        weights[scene.publish(f"{weight} * ctr + {1 / weight} * vcr")] = weight
    done.set()
    for asker in askers:
        asker.join()
    assert len({reply["plan"] for reply in replies}) > 1
    for reply in replies:
        weight = weights[reply["plan"]]
        expected = [weight * h["ctr"] + h["vcr"] / weight for h in heads_of(reply)]
        assert is_close(reply["scores"], expected)


def test_a_half_copied_package_is_refused_by_name_and_traffic_stays(
    scene: Scene, models: Path
) -> None:
    # a directory that is still being copied is loaded as it lies there (Triton)
    publish_tiny(models, "copied")
    scene.publish("ctr", model="copied@champion")
    before = unchanging(scene.rank())
    whole, partial = models / "copied" / "1", models / "copied" / "2"
    promote = "/v1/models/copied/promote"

    def refusal() -> str:
        answer = scene.service.client.post(promote, json={"version": 2}, headers=AUTH)
        assert 400 <= answer.status_code < 500, answer.text
        assert unchanging(scene.rank()) == before
        return str(answer.json()["detail"])

    partial.mkdir()
    shutil.copy(whole / "model.onnx", partial)
    assert "manifest.json" in refusal()
    manifest = json.loads((whole / "manifest.json").read_text())
    (partial / "manifest.json").write_text(json.dumps(manifest | {"version": 2}))
    assert "golden" in refusal()
    for name in ("golden.json", "golden.npz"):
        shutil.copy(whole / name, partial)
    graph = (whole / "model.onnx").read_bytes()
    (partial / "model.onnx").write_bytes(graph[: len(graph) // 2])
    assert "model.onnx does not match its digest" in refusal()
    (partial / "model.onnx").write_bytes(graph)
    answer = scene.service.client.post(promote, json={"version": 2}, headers=AUTH)
    assert answer.status_code == 200, answer.text
    assert scene.rank()["model"] == "copied/2"


def test_what_was_written_is_read_by_the_next_request(scene: Scene, tmp_path: Path) -> None:
    # a reader overtakes the pipelined writer, and sees the old value or none (Metarank)
    finerank = Command(FINERANK_STORE=scene.service.runtime.store_url)
    file = tmp_path / "items.jsonl"
    for price in (2, 3, 4, 5):
        version = scene.publish(f"price * {price}")
        file.write_text("".join(f'{{"id": "i{n}", "price": {price}}}\n' for n in range(14, 1500)))
        finerank("features", "load", scene.name, "--items", file)
        reply = scene.rank()
        assert reply["plan"] == version
        assert reply["scores"] == [price * price] * 20


def test_request_number_500_is_what_the_first_was(scene: Scene) -> None:
    # a cached request context, changed in place: latency grows with the request count (Feast)
    scene.publish("ctr * (1 + context.hour / 24)", **experiment(params={}))
    asked = {"context": {"hour": 20}, "features": {"videolen_s": [9.0] * 20}}
    first = unchanging(scene.rank(**copy.deepcopy(asked)))
    metrics = []
    for number in range(500):
        if number in (100, 499):
            metrics.append(len(scene.service.client.get("/metrics").text.splitlines()))
        user = {"id": f"u{number}", "features": {"age_range": "18-23", f"new_{number}": 1}}
        scene.rank(5, user=user, context={"hour": number % 24}, features={"price": [1.0] * 5})
    assert unchanging(scene.rank(**asked)) == first
    assert metrics[0] == metrics[1]


def test_nothing_kept_for_a_model_is_read_by_another(scene: Scene, models: Path) -> None:
    # keys of an old model read by a new one (LibRecommender)
    publish_demo(models)
    scene.publish("ctr + vcr", model="demo@champion")
    load_file(scene.service.runtime.store_url, scene.name, "item", DEMO / "items.jsonl")
    lines = (DEMO / "items.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines[:40]]
    ids = [record.pop("id") for record in records]
    names = {name for record in records for name in record}
    columns = {name: [record.get(name) for record in records] for name in names}

    replies = []
    for version in (1, 2):
        if version == 2:
            publish_demo(models, shift=0.5)
            body = {"version": 2}
            moved = scene.service.client.post("/v1/models/demo/promote", json=body, headers=AUTH)
            assert moved.status_code == 200, moved.text
        replies += [scene.rank(ids), scene.rank(ids)]  # the second from what the first one kept
        inline = scene.rank(ids, features=columns)  # nothing that was kept is used
        assert by_id(replies[-1]) == by_id(replies[-2]) == by_id(inline)
        assert replies[-1]["model"] == f"demo/{version}"
    assert by_id(replies[0]) != by_id(replies[-1])
    text = scene.service.client.get("/metrics").text
    hits = f'finerank_item_cache_lookups_total{{by="id",result="hit",scene="{scene.name}"}}'
    assert next(float(line.split()[-1]) for line in text.splitlines() if hits in line) >= 80
