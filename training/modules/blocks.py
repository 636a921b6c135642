"""The embedded input as three blocks, so that a model can be cut between user, item and pair."""

from typing import NamedTuple

import torch
from torch import Tensor


class Widths(NamedTuple):
    """Widths of the three blocks; 0 where a schema has nothing on that side."""

    user: int
    item: int
    cross: int

    @property
    def total(self) -> int:
        return self.user + self.item + self.cross


class Blocks:
    """User and context features (B, Du), item features (B, Di), cross features (B, Dx)."""

    def __init__(self, user: Tensor, item: Tensor, cross: Tensor) -> None:
        self.user, self.item, self.cross = user, item, cross
        # Concatenated once here: every first layer then is one GEMM over all its experts.
        self.whole = torch.cat([block for block in (user, item, cross) if block.shape[1]], dim=1)
