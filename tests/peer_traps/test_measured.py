"""What peers report about experiments and multi-task models, and what is true."""

import re
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.contract.repository import Repository
from tests.peer_traps.demo_package import DEMO, publish_demo
from tests.peer_traps.scene import TREATED, Scene, experiment


def test_the_arm_that_served_is_in_the_reply_and_in_the_metrics(scene: Scene) -> None:
    # an experiment label that is declared and never filled (PAI-Rec)
    scene.publish({"score": "ctr * b", "params": {"b": 1.0}}, **experiment(params={"b": 2.0}))
    for _ in range(3):
        treated = scene.rank(user=TREATED)
    outside = scene.rank()
    assert (treated["exp_id"], treated["assignments"]) == (
        "layer:test/arm",
        {"layer": "test/arm"},
    )
    assert (outside["exp_id"], outside["assignments"]) == ("", {})
    text = scene.service.client.get("/metrics").text
    served = {
        (sample.labels["layer"], sample.labels["arm"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "finerank_served_total" and sample.labels["scene"] == scene.name
    }
    assert served == {("layer", "test/arm"): 3}


def test_esmm_multiplies_probabilities_and_finds_heads_by_name(scene: Scene, models: Path) -> None:
    # multiplied logits; heads by their position (Tenrec, MultiTaskModel)
    publish_demo(models, "esmm")
    publish_demo(models, "turned", turned=True)
    replies = []
    for name in ("esmm", "turned"):
        scene.publish("ctr + 2 * cvr - 3 * ctcvr", model=f"{name}@champion")
        replies.append(scene.rank([f"i{n}" for n in range(60)]))
    usual, turned = replies
    assert list(usual["heads"]) == list(turned["heads"])[::-1]
    assert usual["heads"] == turned["heads"]
    assert usual["scores"] == turned["scores"]
    heads = {name: np.array(values, np.float32) for name, values in usual["heads"].items()}
    assert np.array_equal(heads["ctcvr"], heads["ctr"] * heads["cvr"])
    assert len(np.unique(heads["ctcvr"])) > 10


def test_cvr_is_measured_on_clicks_and_on_all_rows_and_each_is_named() -> None:
    # a CVR metric over all rows without saying so (torch-rechub)
    pytest.importorskip("polars")
    from training.config.task import Task
    from training.data.log import Log
    from training.scores import head_metrics

    random = np.random.default_rng(0)
    rows, guess = 400, random.random(400).astype(np.float32)
    click = random.random(rows) < 0.4
    buy = click & (random.random(rows) < guess)
    ids = np.array(["x"] * rows, object)
    log = Log(
        row=np.arange(rows),
        day=np.full(rows, 20260101, np.int32),
        user_id=ids,
        item_id=ids,
        columns={},
        labels={"buy": buy.astype(np.float32)},
        spaces={"impression": np.ones(rows, bool), "click": click},
    )
    found = head_metrics([Task(name="cvr", label="buy", space="click")], {"cvr": guess}, log)

    def auc(space: np.ndarray) -> float:
        """Share of (bought, not bought) pairs that are in the right order."""
        pairs = guess[space & buy][:, None] - guess[space & ~buy][None, :]
        return float(np.mean(pairs > 0))

    assert found["cvr.auc[click]"] == pytest.approx(auc(click))
    assert found["cvr.auc[impression]"] == pytest.approx(auc(np.ones(rows, bool)))
    assert found["cvr.auc[click]"] != pytest.approx(found["cvr.auc[impression]"])


def test_what_is_documented_of_a_model_is_what_it_is() -> None:
    # documentation that does not match the class (torch-rechub, PaddleRec)
    manifest = Repository(DEMO.parent).manifest("demo", 1)
    card = (DEMO / "1" / "MODEL_CARD.md").read_text().replace("\\|", "|")
    for head in manifest.heads:
        low, high = head.range
        row = f"| `{head.name}` | {head.meaning} | {head.sample_space} | {low:g} to {high:g} |"
        assert row in card
    products = [head.product for head in manifest.heads if head.name == "ctcvr"]
    assert products == [("ctr", "cvr")]
    for name, value in manifest.training.metrics.items():
        head, rows = re.fullmatch(r"(\w+)\.\w+\[(.+)\]", name).groups()
        [line] = [x for x in card.splitlines() if x.startswith(f"| `{head}` | {rows} |")]
        assert f" {value:.4f} " in line, name
