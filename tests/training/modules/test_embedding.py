"""Embedding: offsets, shared rows, masked means, and transforms of numbers inside the graph."""

import math

import numpy as np
import pytest
import torch

from service.contract.features import (
    Categorical,
    FeatureSchema,
    Lookup,
    MultiValued,
    Numeric,
    Sequence,
)
from training.modules.embedding import FeatureEmbedding, value_columns

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="user_id", side="user", vocabulary=("a", "b")),
        Sequence(name="recent", side="user", max_length=3, shares="item_id"),
        Categorical(name="tab", side="context", vocabulary=("0", "1")),
        Categorical(name="item_id", side="item", vocabulary=("x", "y", "z")),
        MultiValued(name="tags", side="item", max_length=2, hash_buckets=4),
        Categorical(name="brand", side="item", vocabulary=("p",)),
        Numeric(name="price", side="item", default=0),
        Numeric(name="constant", side="item", default=0),
        Lookup(
            name="pair",
            side="cross",
            source="user_brand",
            source_side="user",
            key="brand",
            key_side="item",
            columns=("rate", "n"),
            default=(0.1, 0.0),
        ),
    )
)


def _inputs(rows=4):
    return {
        "user_ids": torch.tensor([[1, 1, 2, 0]] * rows, dtype=torch.int32),
        "context_ids": torch.tensor([[2]] * rows, dtype=torch.int32),
        "item_ids": torch.tensor([[2, 0, 3, 1]] * rows, dtype=torch.int32),
        "item_values": torch.tensor([[float(r), 5.0] for r in range(rows)]),
        "cross_values": torch.tensor([[0.5, float(r)] for r in range(rows)]),
    }


def _embedding(**options):
    torch.manual_seed(0)
    return FeatureEmbedding(SCHEMA, dim=4, **options)


# Rows of the one table: user_id 0..2, tab 3..5, item_id 6..9 (and recent), tags 10..14, brand
# 15..16.
def test_every_feature_reads_its_own_rows_of_the_one_table():
    embedding = _embedding()
    assert embedding.table.shape == (17, 4)
    x = embedding(_inputs())
    table = embedding.table
    assert torch.equal(x.user[0, :4], table[0 + 1])
    assert torch.equal(x.user[0, 8:12], table[3 + 2])
    assert torch.equal(x.item[0, :4], table[6 + 2])
    assert torch.equal(x.item[0, 4:8], table[15 + 1])


def test_lists_are_means_over_ids_above_zero_in_shared_or_own_rows():
    embedding = _embedding()
    x = embedding(_inputs())
    table = embedding.table
    torch.testing.assert_close(x.user[0, 4:8], (table[6 + 1] + table[6 + 2]) / 2)
    torch.testing.assert_close(x.item[0, 8:12], table[10 + 3])


def test_an_empty_list_is_zero_and_moves_no_row():
    embedding = _embedding()
    inputs = _inputs() | {"user_ids": torch.tensor([[1, 0, 0, 0]], dtype=torch.int32)}
    x = embedding({name: block[:1] for name, block in inputs.items()})
    assert torch.equal(x.user[0, 4:8], torch.zeros(4))
    x.user[0, 4:8].sum().backward()
    assert torch.equal(embedding.table.grad, torch.zeros(17, 4))


def test_out_of_vocabulary_has_a_row_of_its_own():
    embedding = _embedding()
    inputs = _inputs() | {"user_ids": torch.zeros(4, 4, dtype=torch.int32)}
    assert torch.equal(embedding(inputs).user[0, :4], embedding.table[0])


def test_numbers_are_logged_standardised_and_clipped_in_the_graph():
    embedding = _embedding(log1p=["pri*", "pair.n"], clip=2.0)
    embedding.fit({name: block.numpy() for name, block in _inputs(50).items()})
    price = np.log1p(np.arange(50.0))
    inputs = _inputs(50)
    inputs["item_values"][49, 0] = 1e30
    x = embedding(inputs)
    expected = (price - price.mean()) / price.std()
    np.testing.assert_allclose(x.item[3:49, 12].detach(), expected[3:49], atol=1e-5)
    assert x.item[49, 12] == 2.0
    np.testing.assert_allclose(x.cross[5, 1].item(), expected[5], atol=1e-5)


def test_a_column_that_never_varied_contributes_nothing():
    embedding = _embedding()
    inputs = _inputs(50)
    embedding.fit({name: block.numpy() for name, block in inputs.items()})
    inputs["item_values"][0, 1] = 77.0
    assert torch.equal(embedding(inputs).item[:, 13], torch.zeros(50))


def test_a_negative_number_under_log1p_is_zero_not_nan():
    embedding = _embedding(log1p=["price"])
    inputs = _inputs(2)
    inputs["item_values"][0, 0] = -math.e
    assert torch.isfinite(embedding(inputs).item).all()


@pytest.mark.parametrize("rows", [1, 7])
def test_widths_are_what_comes_out(rows):
    embedding = _embedding()
    x = embedding(_inputs(rows))
    assert embedding.widths == (12, 14, 2)
    assert tuple(block.shape[1] for block in (x.user, x.item, x.cross)) == embedding.widths
    assert x.whole.shape == (rows, 28)


def test_a_schema_may_have_nothing_on_a_side():
    schema = FeatureSchema(features=(Categorical(name="item_id", side="item", vocabulary=("x",)),))
    embedding = FeatureEmbedding(schema, dim=4)
    x = embedding({"item_ids": torch.ones(3, 1, dtype=torch.int32)})
    assert embedding.widths == (0, 4, 0)
    assert x.user.shape == (3, 0)
    assert x.whole.shape == (3, 4)


def test_value_columns_are_named_by_feature_and_lookup_column():
    assert value_columns(SCHEMA, "item") == ["price", "constant"]
    assert value_columns(SCHEMA, "cross") == ["pair.rate", "pair.n"]


@pytest.mark.parametrize("kind", ["sum", "max"])
def test_a_list_is_pooled_as_configured(kind):
    embedding = _embedding(pooling={"recent": kind})
    rows = embedding.table[[6 + 1, 6 + 2]]
    pooled = rows.sum(dim=0) if kind == "sum" else rows.amax(dim=0)
    torch.testing.assert_close(embedding(_inputs()).user[0, 4:8], pooled)
    assert torch.equal(embedding(_inputs()).item, _embedding()(_inputs()).item)


def test_an_unpooled_list_is_handed_on_with_what_is_present():
    embedding = _embedding(unpooled=["recent"])
    x = embedding(_inputs(2))
    assert embedding.widths == (8, 14, 2)
    assert x.user.shape == (2, 8)
    rows, present = x.lists["recent"]
    assert torch.equal(rows[0], embedding.table[[6 + 1, 6 + 2, 6]])
    assert present.tolist() == [[True, True, False]] * 2


def test_an_unpooled_list_is_pooled_too_where_pooling_names_it():
    embedding = _embedding(unpooled=["recent"], pooling={"recent": "mean"})
    x = embedding(_inputs())
    assert torch.equal(x.whole, _embedding()(_inputs()).whole)
    assert list(x.lists) == ["recent"]


def test_the_layout_names_the_columns_in_their_order():
    embedding = _embedding()
    names = [field.name for field in embedding.layout.fields]
    assert names == [
        *("user_id", "recent", "tab"),
        *("item_id", "brand", "tags", "price", "constant"),
        *("pair.rate", "pair.n"),
    ]
    x, layout = embedding(_inputs()), embedding.layout
    columns = layout.columns(layout.select(["brand"]))
    assert torch.equal(x.whole[0, columns], embedding.table[15 + 1])
