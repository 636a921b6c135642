"""The whole network: named heads, products bit for bit, auxiliary towers, base rates."""

import math

import pytest
import torch

from service.contract.features import Categorical, FeatureSchema, Numeric
from training.config.model import Model
from training.config.task import Task
from training.losses import product
from training.objective import Objective
from training.rankers.build import build_ranker
from training.rankers.heads import Heads, head_values
from training.readouts.probability import Probability
from training.readouts.readouts import Readouts

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="user_id", side="user", vocabulary=("a", "b", "c")),
        Categorical(name="item_id", side="item", vocabulary=("x", "y")),
        Numeric(name="price", side="item", default=0),
    )
)
TASKS = (
    Task(name="ctr", label="click"),
    Task(name="cvr", label="buy", space="click", loss="none"),
    Task(name="ctcvr", label="buy", product=("ctr", "cvr")),
    Task(name="stays", label="play", beside="ctr"),
)
TRUNKS = {
    "shared-bottom": {"kind": "shared-bottom", "hidden": [6]},
    "omoe": {"kind": "omoe", "experts": 2, "hidden": [6]},
    "mmoe": {"kind": "mmoe", "experts": 2, "hidden": [6]},
    "ml-mmoe": {"kind": "ml-mmoe", "levels": 2, "experts": 2, "hidden": [6]},
    "cgc": {"kind": "cgc", "own": 1, "shared": 1, "hidden": [6]},
    "ple": {"kind": "ple", "levels": 2, "own": 1, "shared": 1, "hidden": [6]},
    "aitm": {"kind": "aitm", "hidden": [6]},
    "stem": {"kind": "stem", "own": 1, "shared": 1, "hidden": [6]},
    "adatt": {"kind": "adatt", "levels": 2, "own": 2, "hidden": [6]},
    "attention": {
        "kind": "ple",
        "levels": 2,
        "own": 1,
        "shared": 1,
        "hidden": [6],
        "gate": "attention",
    },
    "feature-selection": {
        "kind": "cgc",
        "own": 1,
        "shared": 1,
        "hidden": [6],
        "gate": "feature-selection",
    },
}


def _ranker(trunk="mmoe", tasks=TASKS):
    torch.manual_seed(0)
    table = {"trunk": TRUNKS[trunk], "towers": [4], "dropout": 0.0, "linear": trunk != "stem"}
    model = Model.model_validate(table)
    return build_ranker(SCHEMA, model, tasks)


def _inputs(rows=5):
    random = torch.Generator().manual_seed(0)
    return {
        "user_ids": torch.randint(0, 4, (rows, 1), generator=random, dtype=torch.int32),
        "item_ids": torch.randint(0, 3, (rows, 1), generator=random, dtype=torch.int32),
        "item_values": torch.randn(rows, 1, generator=random),
    }


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("rows", [1, 5])
def test_every_trunk_gives_a_probability_a_head_and_row(trunk, rows):
    heads = Heads(
        _ranker(trunk), list(SCHEMA.inputs), {"ctr": None, "ctcvr": ("ctr", "cvr"), "cvr": None}
    )
    values = heads(*_inputs(rows).values())
    assert len(values) == 3
    for value in values:
        assert value.shape == (rows,)
        assert ((value > 0) & (value < 1)).all()


def test_ctcvr_is_ctr_times_cvr_bit_for_bit_wherever_it_is_listed():
    logits = torch.randn(1000, 2)
    readouts = Readouts({"ctr": Probability(), "cvr": Probability()})
    values = head_values(
        logits, ("ctr", "cvr"), {"ctcvr": ("ctr", "cvr"), "cvr": None, "ctr": None}, readouts
    )
    assert list(values) == ["ctcvr", "cvr", "ctr"]
    assert torch.equal(values["ctcvr"], values["ctr"] * values["cvr"])
    assert (values["ctcvr"] <= torch.minimum(values["ctr"], values["cvr"])).all()


def test_a_product_has_no_tower_and_an_auxiliary_task_no_stream():
    ranker = _ranker("ple")
    assert ranker.tasks == ("ctr", "cvr")
    assert ranker.logit_names == ("ctr", "cvr", "stays")
    assert ranker.trunk.levels[-1].tasks == 2
    assert ranker(_inputs()).shape == (5, 3)
    assert ranker(_inputs(), auxiliary=False).shape == (5, 2)


def test_leaving_out_auxiliary_tasks_changes_no_head():
    ranker = _ranker()
    torch.testing.assert_close(ranker(_inputs())[:, :2], ranker(_inputs(), auxiliary=False))


def test_an_auxiliary_task_trains_the_representation_it_stands_beside():
    ranker = _ranker("cgc")
    ranker(_inputs())[:, 2].sum().backward()
    gate = ranker.trunk.gate.select.weight.grad.unflatten(1, (2, -1))
    assert gate[:, 0].any(), "it stands beside ctr"
    assert not gate[:, 1].any(), "not beside cvr"


def test_outputs_start_at_the_given_logits():
    ranker = _ranker()
    with torch.no_grad():
        for parameter in ranker.parameters():
            parameter.zero_()
    ranker.set_output_bias({"ctr": -1.0, "cvr": -2.0, "stays": 0.5})
    assert torch.equal(ranker(_inputs())[0], torch.tensor([-1.0, -2.0, 0.5]))


@pytest.mark.parametrize("trunk", TRUNKS)
def test_unclicked_rows_move_the_conversion_tower_and_the_shared_embeddings(trunk):
    ranker = _ranker(trunk)
    inputs = _inputs()
    logits = ranker(inputs)
    product([logits[:, 0], logits[:, 1]], torch.zeros(5)).sum().backward()
    assert ranker.towers.out.bias.grad[1].item() > 0
    seen = inputs["user_ids"].flatten().unique().long()
    assert (ranker.embedding.table.grad[seen].abs().sum(1) > 0).all()


def test_an_item_seen_only_unclicked_trains_under_esmm_and_not_under_click_only_cvr():
    click = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])
    inputs = _inputs() | {"item_ids": torch.tensor([[1], [2], [2], [1], [2]], dtype=torch.int32)}
    only_unclicked = 4 + 2  # item row 2 after the four user rows

    def gradient(tasks):
        ranker = _ranker("mmoe", tasks)
        objective = Objective(tasks, ranker.logit_names)
        labels = torch.stack([torch.zeros(5)] * len(tasks), dim=1)
        spaces = torch.stack(
            [click > 0 if t.space == "click" else click >= 0 for t in tasks], dim=1
        )
        losses = objective.losses(ranker(inputs), labels, spaces)
        losses.popitem()[1].backward()
        return ranker.embedding.table.grad[only_unclicked]

    click_only = (Task(name="cvr", label="buy", space="click"),)
    assert gradient(TASKS[:3]).any()
    assert not gradient(click_only).any()


def test_an_untrained_ranker_says_the_base_rate():
    ranker = _ranker()
    ranker.set_output_bias(dict.fromkeys(ranker.logit_names, math.log(0.02 / 0.98)))
    out = torch.sigmoid(ranker(_inputs(200)))
    assert 0.005 < out.mean().item() < 0.08


@pytest.mark.parametrize("trunk", TRUNKS)
def test_training_computes_what_serving_computes_and_nothing_for_nobody(trunk, monkeypatch):
    ranker, seen = _ranker(trunk).double(), []
    read = ranker.read
    monkeypatch.setattr(ranker, "read", lambda inputs: seen.append(read(inputs)) or seen[-1])
    inputs = {n: t.double() if t.is_floating_point() else t for n, t in _inputs().items()}
    trained, served = ranker.train()(inputs), ranker.eval()(inputs)
    torch.testing.assert_close(trained, served, rtol=0, atol=1e-12)
    assert len(seen) == 2
    assert not any(x.products for x in seen), "a product that no layer took"
