"""The cut ranker: its three modules give the heads of the whole one, for every trunk."""

import numpy as np
import pytest
import torch
from torch import nn

from service.contract.features import Categorical, FeatureSchema, Lookup, Numeric, Sequence
from training.config.model import Model
from training.config.task import Task
from training.rankers.build import build_ranker
from training.rankers.cut import NotCut, cut
from training.rankers.heads import Heads

USER = (
    Categorical(name="user_id", side="user", vocabulary=("a", "b", "c")),
    Sequence(name="recent", side="user", max_length=2, shares="item_id"),
    Sequence(name="liked", side="user", max_length=2, shares="item_id"),
    Numeric(name="hour", side="context", default=12),
)
ITEM = (
    Categorical(name="item_id", side="item", vocabulary=("p", "q", "r", "s")),
    Numeric(name="price", side="item", default=0),
)
CROSS = (
    Lookup(
        name="user_item",
        side="cross",
        source="rates",
        source_side="user",
        key="item_id",
        key_side="item",
        columns=("shown", "rate"),
        default=(0.0, 0.1),
    ),
)
SCHEMA = FeatureSchema(features=(*USER, *ITEM, *CROSS))
TASKS = (
    Task(name="ctr", label="click"),
    Task(name="cvr", label="buy", space="click", loss="none"),
    Task(name="ctcvr", label="buy", product=("ctr", "cvr")),
    Task(name="stays", label="play", beside="ctr"),
)
PRODUCTS = {"ctr": None, "cvr": None, "ctcvr": ("ctr", "cvr")}
TRUNKS = [
    {"kind": "shared-bottom", "hidden": [16, 8]},
    {"kind": "mmoe", "experts": 2, "hidden": [16, 8]},
    {"kind": "cgc", "own": 1, "shared": 2, "hidden": [16, 8]},
    {"kind": "ple", "levels": 2, "own": 1, "shared": 1, "hidden": [16, 8]},
    {"kind": "omoe", "experts": 2, "hidden": [16, 8]},
    {"kind": "ml-mmoe", "levels": 2, "experts": 2, "hidden": [16, 8]},
    {"kind": "aitm", "hidden": [16, 8]},
    {"kind": "adatt", "levels": 2, "own": 2, "hidden": [16, 8]},
    {"kind": "cgc", "own": 1, "shared": 2, "hidden": [16, 8], "gate": "attention"},
]
ROWS = 9


def made(trunk=TRUNKS[3], schema=SCHEMA, *, linear=True) -> Heads:
    torch.manual_seed(3)
    model = Model.model_validate(
        {"trunk": trunk, "towers": [4], "embedding": 3, "linear": linear, "log1p": ["price"]}
    )
    ranker = build_ranker(schema, model, TASKS)
    with torch.no_grad():
        for parameter in ranker.parameters():
            parameter.normal_(std=0.5)
    ranker.embedding.fit({name: block.numpy() for name, block in rows(schema).items()})
    return Heads(ranker, list(schema.inputs), PRODUCTS).eval()


def rows(schema=SCHEMA):
    """Rows of one user, by input name."""
    random = np.random.default_rng(0)
    found = {}
    for name, (side, dtype, width) in schema.inputs.items():
        high = {"user_ids": 4, "item_ids": 5}.get(name, 1)
        block = random.integers(0, high, (ROWS, width)) if dtype == "int32" else None
        block = random.exponential(2, (ROWS, width)) if block is None else block
        if side in ("user", "context"):
            block[:] = block[:1]
        found[name] = torch.from_numpy(block.astype(dtype))
    return found


def apart(heads, schema=SCHEMA):
    parts, x = cut(heads, schema), rows(schema)
    user = parts.user(*(x[name][:1] for name in parts.user.inputs))
    item = parts.item(*(x[name] for name in parts.item.inputs))
    assert user.shape == (1, parts.width)
    assert item.shape == (ROWS, parts.width)
    return parts.rank(user, item, *(x[name] for name in parts.rank.inputs))


@pytest.mark.parametrize("trunk", TRUNKS, ids=lambda trunk: f"{trunk['kind']} {trunk.get('gate')}")
@pytest.mark.parametrize("linear", [True, False])
def test_three_modules_give_the_heads_of_the_whole_ranker(trunk, linear):
    heads = made(trunk, linear=linear)
    together = heads(*rows().values())
    for name, found, expected in zip(PRODUCTS, apart(heads), together, strict=True):
        np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-6, err_msg=name)
    assert together[0].std() > 0


def test_ranker_without_cross_features_is_cut_too():
    schema = FeatureSchema(features=(*USER, *ITEM))
    heads = made(schema=schema)
    expected = heads(*rows(schema).values())
    for found, whole in zip(apart(heads, schema), expected, strict=True):
        np.testing.assert_allclose(found.detach(), whole.detach(), atol=1e-6)


def test_each_module_holds_only_the_table_rows_it_reads():
    parts = cut(made(), SCHEMA)
    assert len(parts.user.embedding.table) == 4 + 5  # both item lists share one copy
    assert len(parts.item.embedding.table) == 5
    assert len(parts.rank.embedding.table) == 0


def test_ranker_itself_stays_as_it_was():
    heads = made()
    before = [value.detach() for value in heads(*rows().values())]
    cut(heads, SCHEMA)
    for then, now in zip(before, heads(*rows().values()), strict=True):
        assert torch.equal(then, now)


class _EarlyMix(nn.Module):
    """A trunk that multiplies user and item numbers, as a factorisation machine does."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x):
        return self.trunk(x) * x.user[:, :1, None] * x.item[:, :1, None]


def test_trunk_that_mixes_sides_earlier_is_not_cut():
    heads = made()
    heads.ranker.trunk = _EarlyMix(heads.ranker.trunk)
    with pytest.raises(NotCut, match=r"^not cut: the trunk reads 'user' of the embedded blocks"):
        cut(heads, SCHEMA)


@pytest.mark.parametrize(
    ("trunk", "reason"),
    [
        (
            {"kind": "stem", "own": 1, "shared": 1, "hidden": [8]},
            "^not cut: no layer reads the embedded blocks side by side",
        ),
        (
            {"kind": "mmoe", "experts": 2, "hidden": [8], "gate": "feature-selection"},
            "^not cut: the trunk reads 'whole' of the embedded blocks before its first layers",
        ),
    ],
    ids=["stem", "feature-selection"],
)
def test_trunk_whose_experts_read_no_plain_columns_is_not_cut(trunk, reason):
    with pytest.raises(NotCut, match=reason):
        cut(made(trunk, linear=False), SCHEMA)


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (ITEM, "not cut: no user or context feature, so nothing is computed once a request"),
        (USER[:1], "not cut: no item feature, so nothing can be kept by item"),
    ],
)
def test_ranker_of_one_side_is_not_cut(features, reason):
    schema = FeatureSchema(features=features)
    with pytest.raises(NotCut) as caught:
        cut(made(schema=schema), schema)
    assert str(caught.value) == reason
