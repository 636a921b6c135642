"""The gate of a mixture of experts. Notation: `training.modules`."""

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.linear import first_layer


class Gate(nn.Module):
    """Mix a pool of experts by softmax(W selector): g(x) = sum_p w_p(selector) pool_p.

    The weights depend on the selector alone, never on what the experts answer
    (Ma et al., KDD 2018, eq. 7; Tang et al., RecSys 2020, eq. 2). No bias, dropout or
    normalisation.

    selector: Blocks (level 1) or (B, G, D); pool: (B, G, P, H), or (B, 1, P, H) shared by all
        groups;
    returns (B, G, H).
    """

    def __init__(self, width_in: Widths | int, *, groups: int, pool: int) -> None:
        super().__init__()
        self.select = first_layer(width_in, groups, pool, bias=False)

    def weights(self, selector: Blocks | Tensor) -> Tensor:
        """(B, G, P), every row a distribution over the pool."""
        return torch.softmax(self.select(selector), dim=-1)

    def forward(self, selector: Blocks | Tensor, pool: Tensor) -> Tensor:
        return (self.weights(selector).unsqueeze(-1) * pool).sum(dim=2)
