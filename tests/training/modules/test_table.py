"""The one interface to embedding rows: another table may stand behind it."""

import torch
from torch import nn

from service.contract.features import Categorical, FeatureSchema, MultiValued
from training.modules.embedding import FeatureEmbedding
from training.modules.table import LocalTable

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="user_id", side="user", vocabulary=("a", "b")),
        Categorical(name="item_id", side="item", vocabulary=("x", "y", "z")),
        MultiValued(name="tags", side="item", max_length=2, hash_buckets=4),
    )
)
INPUTS = {
    "user_ids": torch.tensor([[2], [0]], dtype=torch.int32),
    "item_ids": torch.tensor([[3, 4, 1], [1, 0, 0]], dtype=torch.int32),
}


class _TwoShards(nn.Module):
    """Even rows here, odd rows there, as a sharded table keeps them apart."""

    def __init__(self, weight):
        super().__init__()
        self.even, self.odd = nn.Parameter(weight[::2]), nn.Parameter(weight[1::2])

    def forward(self, rows):
        half = rows // 2
        even = self.even[half.clamp(max=len(self.even) - 1)]
        odd = self.odd[half.clamp(max=len(self.odd) - 1)]
        return torch.where((rows % 2 == 0).unsqueeze(-1), even, odd)


def test_rows_of_any_shape_are_looked_up():
    table = LocalTable(7, 4)
    rows = torch.tensor([[[0, 6], [3, 3]]])
    assert torch.equal(table(rows), table.weight[rows])


def test_another_table_in_its_place_gives_the_same_input_and_learns():
    torch.manual_seed(0)
    embedding = FeatureEmbedding(SCHEMA, dim=4)
    expected = embedding(INPUTS).whole
    sharded = embedding.lookup = _TwoShards(embedding.table.detach().clone())
    x = embedding(INPUTS).whole
    assert torch.equal(x, expected)
    x.square().sum().backward()
    assert sharded.even.grad.any()
    assert sharded.odd.grad.any()
