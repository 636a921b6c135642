"""OMoE: a mixture of experts with one gate, the baseline of Ma et al., KDD 2018, section 4.1."""

from collections.abc import Sequence

from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.gate import AnyGate, GateKind
from training.rankers.mmoe import MMoE


class OMoE(nn.Module):
    """All tasks read one mixture of shared experts.  Blocks -> (B, T, H)

    f(x) = sum_i softmax(W_g x)_i f_i(x)   (eq. 5)
    """

    def __init__(
        self,
        width_in: Widths | int,
        *,
        tasks: int,
        experts: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
        gate: GateKind = "softmax",
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.mixture = MMoE(
            width_in, tasks=1, experts=experts, hidden=hidden, dropout=dropout, gate=gate
        )
        self.pools = self.mixture.pools

    def forward(self, x: Blocks) -> Tensor:
        return self.streams(x, x)

    def streams(self, tasks: Blocks | Tensor, shared: Blocks | Tensor) -> Tensor:
        """The input of gate and experts, (B, 1, D), is the shared one -> (B, T, H)."""
        return self.mixture.streams(shared, shared).expand(-1, self.tasks, -1)

    @property
    def gates(self) -> dict[str, AnyGate]:
        return self.mixture.gates

    def mixtures(self, x: Blocks) -> dict[str, Tensor]:
        """How much every task takes of each expert in `pools`: level -> (B, T, P)."""
        found = self.mixture.mixtures(x)
        return {level: weights.expand(-1, self.tasks, -1) for level, weights in found.items()}
