"""Peers get what our networks get: every feature apart, numbers transformed alike."""

import numpy as np
import torch

from tests.training.peers.rows import generated_rows
from training.modules.embedding import FeatureEmbedding
from training.peers.columns import columns, fit_standard


def test_every_feature_is_taken_apart_at_its_own_columns():
    rows = generated_rows()
    taken = columns(rows.schema, rows.train)
    blocks = {name: block.numpy() for name, block in rows.train.inputs.items()}
    for side in ("user", "context", "item"):
        together = np.concatenate(
            [taken.ids[feature.name] for feature in rows.schema.id_features(side)], axis=1
        )
        np.testing.assert_array_equal(together, blocks[f"{side}_ids"])
    widths = [block.shape[1] for name, block in blocks.items() if name.endswith("_values")]
    assert taken.values.shape == (len(rows.train), sum(widths))


def test_numbers_are_transformed_as_in_our_networks():
    rows = generated_rows()
    values = columns(rows.schema, rows.train).values
    ours = FeatureEmbedding(rows.schema, dim=2, log1p=("price",), clip=5.0)
    ours.fit({name: block.numpy() for name, block in rows.train.inputs.items()})
    with torch.no_grad():
        item = ours(rows.train.inputs).item.numpy()
    at = sum(rows.schema.values_width(side) for side in ("user", "context"))
    width = rows.schema.values_width("item")
    standard = fit_standard(rows.schema, values, ("price",), 5.0)
    np.testing.assert_allclose(
        standard(values)[:, at : at + width], item[:, -width:], rtol=0, atol=1e-4
    )
