"""Input blocks and groups by configuration: graphs, refusals, and who reads which feature."""

import numpy as np
import pytest
import torch

from service.scoring.session import Session
from tests.training.rankers.test_cut import PRODUCTS, SCHEMA, TASKS, apart, rows
from training.config.model import Model
from training.data.errors import DataError
from training.export import run_heads
from training.modules.blocks import Blocks
from training.rankers.build import build_ranker
from training.rankers.cut import NotCut, cut
from training.rankers.heads import Heads
from training.to_onnx import to_onnx

PLE = {"kind": "ple", "levels": 2, "own": 1, "shared": 1, "hidden": [16, 8]}
BLOCKS = {
    "a factorisation machine": {"inputs": [{"kind": "fm"}]},
    "a cross layer": {"inputs": [{"kind": "cross", "layers": 2, "rank": 3}]},
    "target attention": {"inputs": [{"kind": "attention", "sequence": "recent"}]},
    "a scene gate": {"inputs": [{"kind": "scene", "scene": ["hour"]}]},
}
GROUPS = {"who": ["user_id", "hour"], "what": ["item_id"], "pair": ["user_item"]}
CUTTABLE = {
    "groups": {"groups": GROUPS, "experts_read": ["who", "what"], "gates_read": ["pair"]},
    "towers' features": {"groups": GROUPS, "towers_read": ["pair", "who"]},
    "tower gate": {"tower_gate": {"prior": ["user_id", "item_id"], "hidden": 3}},
    "own tower": {"towers_of": {"cvr": {"hidden": [5, 3]}, "stays": {"hidden": []}}},
    "own network": {
        "groups": GROUPS,
        "towers_of": {"cvr": {"network": [9, 6], "reads": ["what"]}},
    },
    "pooling": {"pooling": {"recent": "max", "liked": "sum"}},
}


def _ranker(**options):
    torch.manual_seed(3)
    document = {"trunk": PLE, "towers": [4], "embedding": 3, **options}
    ranker = build_ranker(SCHEMA, Model.model_validate(document), TASKS)
    with torch.no_grad():
        for parameter in ranker.parameters():
            parameter.normal_(std=0.5)
    ranker.embedding.fit({name: block.numpy() for name, block in rows().items()})
    return ranker.eval()


def _heads(**options):
    return Heads(_ranker(**options), list(SCHEMA.inputs), PRODUCTS).eval()


@pytest.mark.parametrize("options", [*BLOCKS.values(), *CUTTABLE.values()], ids=str)
def test_onnx_runtime_says_what_pytorch_says(options):
    heads = _heads(**options)
    blocks = {name: (dtype, width) for name, (_, dtype, width) in SCHEMA.inputs.items()}
    session = Session(to_onnx(heads, blocks, list(heads.heads)).SerializeToString())
    for many in (1, 7):
        batch = {name: np.resize(x.numpy(), (many, x.shape[1])) for name, x in rows().items()}
        found, expected = session.run(batch), run_heads(heads, batch)
        for head, values in expected.items():
            np.testing.assert_allclose(found[head], values, rtol=0, atol=1e-5, err_msg=head)
    assert expected["ctr"].std() > 0


@pytest.mark.parametrize("called", BLOCKS)
def test_a_block_that_mixes_sides_is_served_whole_and_says_so(called):
    with pytest.raises(NotCut) as caught:
        cut(_heads(**BLOCKS[called]), SCHEMA)
    assert str(caught.value) == f"not cut: {called} mixes the sides before the first layers"


@pytest.mark.parametrize("kind", CUTTABLE)
def test_what_only_adds_up_before_its_first_layers_is_cut(kind):
    heads = _heads(**CUTTABLE[kind])
    for found, whole in zip(apart(heads), heads(*rows().values()), strict=True):
        np.testing.assert_allclose(found.detach(), whole.detach(), atol=1e-6)


def test_each_block_reads_what_the_one_before_it_made():
    ranker = _ranker(
        inputs=[
            {"kind": "attention", "sequence": "recent", "name": "interest"},
            {"kind": "fm", "features": ["interest", "item_id"]},
        ]
    )
    x = ranker.read(rows())
    item, interest, product = x.item[:, :3], x.cross[:, -6:-3], x.cross[:, -3:]
    torch.testing.assert_close(product, item * interest)


def test_a_sequence_shares_the_targets_rows():
    ranker = _ranker(inputs=[{"kind": "attention", "sequence": "recent"}], linear=False)
    ranker(rows())[:, 0].sum().backward()
    owners = ranker.embedding.rows("item_id")
    assert torch.equal(ranker.embedding.rows("recent"), owners)
    seen = rows()["user_ids"][0, 1:3].long()
    start = ranker.embedding.start("item_id")
    assert ranker.embedding.table.grad[start + seen[seen > 0]].any(dim=1).all()


def _gradients(ranker, what):
    """d sum(what(trunk, x)) / d features: field name -> gradient."""
    x = ranker.read(rows())
    leaves = [block.detach().requires_grad_() for block in (x.user, x.item, x.cross)]
    what(ranker.trunk.levels[0], Blocks(*leaves)).square().sum().backward()
    blocks = [b.grad if b.grad is not None else torch.zeros_like(b) for b in leaves]
    whole = torch.cat(blocks, dim=1)
    layout = ranker.embedding.layout
    return {f.name: whole[:, layout.columns([f])] for f in layout.fields}


@pytest.mark.parametrize(
    ("what", "reads"),
    [
        (lambda level, x: level.own(x), {"user_id", "hour", "item_id"}),
        (lambda level, x: level.shared(x), {"user_id", "hour", "item_id"}),
        (lambda level, x: level.gate.weights(x), {"user_item.shown", "user_item.rate"}),
        (lambda level, x: level.shared_gate.weights(x), {"user_item.shown", "user_item.rate"}),
    ],
    ids=["own", "shared", "gate", "shared gate"],
)
def test_experts_and_gates_read_their_groups_and_nothing_else(what, reads):
    gradients = _gradients(_ranker(**CUTTABLE["groups"]), what)
    assert {name for name, gradient in gradients.items() if gradient.any()} <= reads
    varied = reads - {"hour", "user_id"}  # one user: those columns may be standardised to zero
    assert all(gradients[name].any() for name in varied)


def test_a_feature_outside_every_group_changes_nothing():
    ranker = _ranker(**CUTTABLE["groups"], linear=False)
    inputs = rows()
    before = ranker(inputs)
    price = inputs | {"item_values": inputs["item_values"] + 100}
    assert torch.equal(ranker(price), before)
    item = inputs | {"item_ids": (inputs["item_ids"] + 1) % 5}
    assert not torch.equal(ranker(item), before)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"pooling": {"user_id": "max"}},
            "[model.pooling] user_id: no multi-valued feature (liked, recent)",
        ),
        (
            {"inputs": [{"kind": "attention", "sequence": "recents"}]},
            "[[model.inputs]] attention: recents is no multi-valued feature (liked, recent)",
        ),
        ({"groups": {"who": ["usr_*"]}}, "[model.groups] who: 'usr_*' matches no feature of the"),
        (
            {
                "trunk": {"kind": "shared-bottom", "hidden": [8]},
                "groups": {"who": ["user_id"]},
                "gates_read": ["who"],
            },
            "gates_read: a shared-bottom trunk has no gates to read it",
        ),
        (
            {"towers_of": {"ctr": {"scenes": "hour"}}},
            "[model.towers_of] scenes: 'hour' is no categorical feature",
        ),
    ],
)
def test_what_the_schema_cannot_give_is_refused(options, sentence):
    with pytest.raises(DataError) as caught:
        _ranker(**options)
    assert str(caught.value).startswith(sentence)
