"""AITM: Xi et al., Modeling the Sequential Dependence among Audience Multi-step Conversions with
Multi-task Learning in Targeted Display Advertising, KDD 2021 (arXiv 2105.08489).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.dropout import Dropout
from training.modules.expert_bank import ExpertBank
from training.modules.linear import GroupLinear


class AITM(nn.Module):
    """Every task's own network takes over what the task before it learned.  Blocks -> (B, T, H)

    q_t = f_t(x);  z_1 = q_1;  p_{t-1} = g_{t-1}(z_{t-1})
    z_t = sum_{u in {p_{t-1}, q_t}} w_u h1(u),  w_u = softmax_u(<h2(u), h3(u)> / sqrt(H))

    The tasks are the steps of a chain in the order of the configuration, and each tells the
    probability of getting that far from the start (click, then click and purchase), not given the
    step before; `[train.calibrator]` keeps them in order. f_t are MLPs; g is an affine map, ReLU
    and dropout; h1, h2, h3 are matrices that all steps share, as in the authors' code, whose batch
    normalisation is left out. Gradients flow back into the earlier tasks' networks.
    """

    def __init__(
        self, widths: Widths, *, tasks: int, hidden: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        width = hidden[-1]
        self.towers = ExpertBank(widths, groups=tasks, experts=1, hidden=hidden, dropout=dropout)
        self.transfer = nn.ModuleList(GroupLinear(1, width, width) for _ in range(tasks - 1))
        self.attend = GroupLinear(1, width, 3 * width, bias=False)  # h1, h2, h3
        self.dropout = Dropout(dropout)
        self.pools = {"transfer": ("task before", "own")}

    def forward(self, x: Blocks) -> Tensor:
        return self._chain(x)[0]

    def mixtures(self, x: Blocks) -> dict[str, Tensor]:
        """How much every task takes of the task before it: (B, T, 2)."""
        z, weights = self._chain(x)
        first = z.new_tensor([0.0, 1.0]).expand(len(z), 2)
        return {"transfer": torch.stack([first, *weights], dim=1).detach()}

    def _chain(self, x: Blocks) -> tuple[Tensor, list[Tensor]]:
        """The tasks' representations (B, T, H), and what all but the first mix by, (B, 2) each."""
        own = self.towers(x).squeeze(2)  # (B, T, H)
        z = own[:, :1]
        steps, weights = [z], []
        for step, transfer in enumerate(self.transfer, start=1):
            before = self.dropout(torch.relu(transfer(z)))
            pair = torch.cat([before, own[:, step : step + 1]], dim=1)  # (B, 2, H)
            h1, h2, h3 = self.attend(pair).chunk(3, dim=2)
            weights.append(torch.softmax((h2 * h3).sum(dim=2) / math.sqrt(h1.shape[2]), dim=1))
            z = (weights[-1].unsqueeze(2) * h1).sum(dim=1, keepdim=True)
            steps.append(z)
        return torch.cat(steps, dim=1), weights
