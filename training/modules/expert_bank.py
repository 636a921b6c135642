"""Experts, all of them at once. Notation: `training.modules`."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.dropout import Dropout
from training.modules.linear import GroupLinear, first_layer


class ExpertBank(nn.Module):
    """G groups of E experts, each an MLP with ReLU after every layer.

    Level 1: Blocks -> (B, G, E, H); all experts read the same input, their first layers are one
        GEMM.
    Later levels: (B, G, D) -> (B, G, E, H); a group's experts read the group's input.

    Args:
        width_in: the widths of the blocks (level 1), or D.
        hidden: widths of the layers; the last one is H.
        dropout: share of activations dropped after each layer but the last.
    """

    def __init__(
        self,
        width_in: Widths | int,
        *,
        groups: int,
        experts: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.groups, self.experts = groups, experts
        self.first = first_layer(width_in, groups, experts * hidden[0])
        self.rest = nn.ModuleList(
            GroupLinear(groups * experts, width, following) for width, following in pairwise(hidden)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Blocks | Tensor) -> Tensor:
        hidden = torch.relu(self.first(x)).unflatten(2, (self.experts, -1)).flatten(1, 2)
        for layer in self.rest:
            hidden = torch.relu(layer(self.dropout(hidden)))  # (B, G * E, H)
        return hidden.unflatten(1, (self.groups, self.experts))
