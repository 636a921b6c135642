"""The task networks after the gates, all of them at once. Notation: `training.modules`."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from training.modules.linear import GroupLinear


class TowerBank(nn.Module):
    """One MLP per task, ReLU between layers, a single number out.  (B, T, H) -> (B, T) logits"""

    def __init__(
        self, *, tasks: int, width_in: int, hidden: Sequence[int] = (), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(
            GroupLinear(tasks, width, following)
            for width, following in pairwise((width_in, *hidden))
        )
        self.out = GroupLinear(tasks, hidden[-1] if hidden else width_in, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = self.dropout(torch.relu(layer(x)))
        return self.out(x).squeeze(2)
