"""ML-MMoE: MMoE in several levels, a baseline of Tang et al. (PLE), RecSys 2020, section 5.1.2."""

from collections.abc import Sequence

from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.expert_bank import ExpertBank
from training.modules.gate import AnyGate, GateKind, make_gate, watch


class MLMMoE(nn.Module):
    """Levels of shared experts; every gate of every level reads x itself.  Blocks -> (B, T, H)

    z_i^0 = x,  z_i^j = sum_e softmax(W_i^j x)_e E_e^j(z_e^{j-1})

    Below the last level there is one gate for every expert i of the level above, at the last one
    a gate for every task ("all gating networks share the same selector").
    """

    def __init__(
        self,
        width_in: Widths | int,
        *,
        tasks: int,
        levels: int,
        experts: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
        gate: GateKind = "softmax",
    ) -> None:
        super().__init__()
        bank = {"hidden": hidden, "dropout": dropout}
        pool = {"pool": experts, "width": hidden[-1]}
        self.first = ExpertBank(width_in, groups=1, experts=experts, **bank)
        self.between = nn.ModuleList(
            make_gate(gate, width_in, groups=experts, **pool) for _ in range(levels - 1)
        )
        self.above = nn.ModuleList(
            ExpertBank(hidden[-1], groups=experts, experts=1, **bank) for _ in range(levels - 1)
        )
        self.gate = make_gate(gate, width_in, groups=tasks, **pool)
        self._last = f"level {levels}"
        self.pools = {self._last: tuple(f"shared {n}" for n in range(1, experts + 1))}

    def forward(self, x: Blocks) -> Tensor:
        return self.streams(x, x)

    def streams(self, tasks: Blocks | Tensor, shared: Blocks | Tensor) -> Tensor:
        """Inputs of the tasks' gates, (B, T, D), and of all else, (B, 1, D) -> (B, T, H)."""
        pool = self.first(shared)  # (B, 1, E, H)
        for gate, experts in zip(self.between, self.above, strict=True):
            pool = experts(gate(shared, pool)).transpose(1, 2)
        return self.gate(tasks, pool)

    @property
    def gates(self) -> dict[str, AnyGate]:
        return {self._last: self.gate}

    def mixtures(self, x: Blocks) -> dict[str, Tensor]:
        """How much every task takes of each expert of the last level: level -> (B, T, P)."""
        return watch(self.gates, lambda: self(x))
