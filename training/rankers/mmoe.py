"""MMoE: Ma et al., Multi-gate Mixture-of-Experts, KDD 2018."""

from collections.abc import Sequence

from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.expert_bank import ExpertBank
from training.modules.gate import Gate


class MMoE(nn.Module):
    """All tasks share all experts; each task has its own gate.  Blocks -> (B, T, H)

    f^k(x) = sum_i softmax(W_g^k x)_i f_i(x)   (eq. 5-8)
    """

    def __init__(
        self,
        widths: Widths,
        *,
        tasks: int,
        experts: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.experts = ExpertBank(widths, groups=1, experts=experts, hidden=hidden, dropout=dropout)
        self.gate = Gate(widths, groups=tasks, pool=experts)

    def forward(self, x: Blocks) -> Tensor:
        return self.gate(x, self.experts(x))
