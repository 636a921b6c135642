"""MMoE: Ma et al., Multi-gate Mixture-of-Experts, KDD 2018."""

from collections.abc import Sequence

from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.expert_bank import ExpertBank
from training.modules.gate import AnyGate, GateKind, make_gate, watch


class MMoE(nn.Module):
    """All tasks share all experts; each task has its own gate.  Blocks -> (B, T, H)

    f^k(x) = sum_i softmax(W_g^k x)_i f_i(x)   (eq. 5-8)
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
        bank = {"hidden": hidden, "dropout": dropout}
        self.experts = ExpertBank(width_in, groups=1, experts=experts, **bank)
        self.gate = make_gate(gate, width_in, groups=tasks, pool=experts, width=hidden[-1])
        self.pools = {"level 1": tuple(f"shared {n}" for n in range(1, experts + 1))}

    def forward(self, x: Blocks) -> Tensor:
        return self.streams(x, x)

    def streams(self, tasks: Blocks | Tensor, shared: Blocks | Tensor) -> Tensor:
        """Inputs of the gates, (B, T, D), and of the experts, (B, 1, D) -> (B, T, H)."""
        return self.gate(tasks, self.experts(shared))

    @property
    def gates(self) -> dict[str, AnyGate]:
        return {"level 1": self.gate}

    def mixtures(self, x: Blocks) -> dict[str, Tensor]:
        """How much every task takes of each expert in `pools`: level -> (B, T, P)."""
        return watch(self.gates, lambda: self(x))
