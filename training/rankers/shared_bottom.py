"""Shared-Bottom: hard parameter sharing (Caruana, 1997)."""

from collections.abc import Sequence

from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.expert_bank import ExpertBank


class SharedBottom(nn.Module):
    """All tasks read one representation: y^k = t^k(f(x)).  Blocks -> (B, T, H)"""

    def __init__(
        self, widths: Widths, *, tasks: int, hidden: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.bottom = ExpertBank(widths, groups=1, experts=1, hidden=hidden, dropout=dropout)

    def forward(self, x: Blocks) -> Tensor:
        return self.bottom(x)[:, :, 0].expand(-1, self.tasks, -1)
