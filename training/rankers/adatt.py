"""AdaTT-sp: Li et al., Adaptive Task-to-Task Fusion Network, KDD 2023, section 4."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.expert_bank import ExpertBank
from training.modules.gate import AnyGate, GateKind, make_gate, watch


class AdaTT(nn.Module):
    """Levels of task-to-task fusion with a residual of each task's own experts.

    Blocks -> (B, T, H)

    z_k^j = softmax(W_k^j z_k^{j-1}) E^j + v_k^j E_k^j,  z_k^0 = x

    E_k^j are the experts of task k, which read z_k^{j-1}; E^j are those of all tasks. There are no
    shared experts. With one expert a task v is 1.

    Args:
        residual: False leaves v out, for comparison.
    """

    def __init__(
        self,
        width_in: Widths | int,
        *,
        tasks: int,
        levels: int,
        own: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
        gate: GateKind = "softmax",
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            _Level(
                width_in if level == 0 else hidden[-1],
                tasks=tasks,
                own=own,
                hidden=hidden,
                dropout=dropout,
                gate=gate,
                residual=residual,
            )
            for level in range(levels)
        )
        names = tuple(f"task {k} own {n}" for k in range(1, tasks + 1) for n in range(1, own + 1))
        self.pools = {f"level {n}": names for n in range(1, levels + 1)}

    def forward(self, x: Blocks) -> Tensor:
        return self.streams(x, x)

    def streams(self, tasks: Blocks | Tensor, shared: Blocks | Tensor) -> Tensor:
        """Inputs of the tasks, (B, T, D) -> (B, T, H); nothing reads a shared one."""
        for level in self.levels:
            tasks = level(tasks)
        return tasks

    @property
    def gates(self) -> dict[str, AnyGate]:
        return {level: part.gate for level, part in zip(self.pools, self.levels, strict=True)}

    def mixtures(self, x: Blocks) -> dict[str, Tensor]:
        """What every task's gate takes of each expert in `pools`, the residual aside:
        level -> (B, T, P).
        """
        return watch(self.gates, lambda: self(x))


class _Level(nn.Module):
    """Blocks or (B, T, D) -> (B, T, H)."""

    def __init__(
        self,
        width_in: Widths | int,
        *,
        tasks: int,
        own: int,
        hidden: Sequence[int],
        dropout: float,
        gate: GateKind,
        residual: bool,
    ) -> None:
        super().__init__()
        self.experts = ExpertBank(
            width_in, groups=tasks, experts=own, hidden=hidden, dropout=dropout
        )
        self.gate = make_gate(gate, width_in, groups=tasks, pool=tasks * own, width=hidden[-1])
        self.residual = residual
        self.own_weights = nn.Parameter(torch.empty(tasks, own)) if own > 1 and residual else None
        if self.own_weights is not None:
            nn.init.uniform_(self.own_weights, -1 / math.sqrt(own), 1 / math.sqrt(own))

    def forward(self, x: Blocks | Tensor) -> Tensor:
        own = self.experts(x)  # (B, T, own, H)
        fused = self.gate(x, own.flatten(1, 2).unsqueeze(1))
        if not self.residual:
            return fused
        if self.own_weights is None:
            return fused + own.squeeze(2)
        return fused + (self.own_weights.unsqueeze(-1) * own).sum(dim=2)
