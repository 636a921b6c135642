"""GateNU, the gate of PEPNet: Chang et al., KDD 2023."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Layout
from training.modules.linear import BlockLinear, GroupLinear

GAMMA = 2.0  # makes 1 the middle of the range


class GateNU(nn.Module):
    """Factors 2 * sigmoid(W' relu(W (prior, sg(x)) + b) + b') in (0, 2).  Blocks -> (B, G, H)

    sg stops the gradient: a gate shapes the embeddings of its prior features, no others. W' and b'
    start at zero, so that every factor is 1 before training.

    Args:
        prior: patterns of the features that decide: a scene, or a user and an item.
        groups: G sets of factors, each with an MLP of its own.
    """

    def __init__(
        self, layout: Layout, prior: Iterable[str], *, hidden: int, groups: int, width_out: int
    ) -> None:
        super().__init__()
        self.rest = BlockLinear(layout.widths, groups, hidden, detached=True)
        self.prior = BlockLinear(layout.widths, groups, hidden, bias=False)
        self.prior.read_only(layout.columns(layout.select(prior)))
        self.out = GroupLinear(groups, hidden, width_out)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Blocks) -> Tensor:
        hidden = torch.relu(self.rest(x) + self.prior(x))
        return GAMMA * torch.sigmoid(self.out(hidden))
