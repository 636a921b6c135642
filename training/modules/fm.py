"""The factorisation machine of DeepFM: Rendle, ICDM 2010; Guo et al., IJCAI 2017, section 2.1."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Layout


class FactorizationMachine(nn.Module):
    """Append sum_{i<j} v_i * v_j = ((sum v)^2 - sum v^2) / 2 over features.  Blocks -> Blocks

    v_i is a feature's embedding, or a number times a learned vector of its own; the new columns
    (B, dim) keep the `dim` products apart. DeepFM's second-order term is their sum, which the
    linear term of the ranker gives with weights of 1 and here learns to weigh for each task.

    Args:
        features: patterns of those that take part.
        name: of the new columns.
    """

    called = "a factorisation machine"

    def __init__(
        self, layout: Layout, *, dim: int, features: Iterable[str] = ("*",), name: str = "fm"
    ) -> None:
        super().__init__()
        chosen = layout.select(features)
        vectors = layout.columns(field for field in chosen if field.embedded)
        numbers = layout.columns(field for field in chosen if not field.embedded)
        self.dim = dim
        self.register_buffer("vectors", vectors, persistent=False)
        self.register_buffer("numbers", numbers, persistent=False)
        self.of_numbers = nn.Parameter(torch.randn(len(numbers), dim) * 0.05)
        self.layout = layout.with_cross(name, dim)

    def forward(self, x: Blocks) -> Blocks:
        return x.with_cross(self.interaction(x))

    def interaction(self, x: Blocks) -> Tensor:
        """The new columns alone, (B, dim)."""
        vectors = x.whole.index_select(1, self.vectors).unflatten(1, (-1, self.dim))
        numbers = x.whole.index_select(1, self.numbers)
        total = vectors.sum(dim=1) + numbers @ self.of_numbers
        squares = vectors.square().sum(dim=1) + numbers.square() @ self.of_numbers.square()
        return (total.square() - squares) / 2
