"""The embedding table, behind the one interface that the rest of a ranker uses."""

from typing import Protocol

import torch
from torch import Tensor, nn


class Table(Protocol):
    """Row numbers, any shape (…) of integers -> their rows (…, dim), differentiable.

    `FeatureEmbedding` calls it once a side for all single-valued features and once for every list,
    and decides what a row number means; nothing else reads a table while a model learns. A table
    that outgrows one device therefore is any module of this shape, say one that answers from a
    `torchrec.EmbeddingCollection` sharded over the processes.
    """

    def __call__(self, rows: Tensor) -> Tensor: ...


class LocalTable(nn.Module):
    """One matrix (rows, dim) on one device, which is what a package is exported from."""

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, dim) * 0.05)

    def forward(self, rows: Tensor) -> Tensor:
        return nn.functional.embedding(rows, self.weight)
