"""CGC: Tang et al., Progressive Layered Extraction (PLE), RecSys 2020, section 4.1."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.expert_bank import ExpertBank
from training.modules.gate import AnyGate, GateKind, make_gate, watch


class CGC(nn.Module):
    """Each task mixes its own experts and the shared ones.  Blocks -> (B, T, H)

    g^k(x) = softmax(W_g^k x) S^k(x), S^k = task k's own experts, then the shared ones   (eq. 2-5)

    As a level of PLE it is called with one input per stream, and below the last level it also has
    the shared gate, which mixes every expert of the level (eq. 6-7).
    """

    def __init__(
        self,
        width_in: Widths | int,
        *,
        tasks: int,
        own: int,
        shared: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
        gate: GateKind = "softmax",
        shared_gate: bool = False,
    ) -> None:
        super().__init__()
        self.tasks = tasks
        bank = {"hidden": hidden, "dropout": dropout}
        self.own = ExpertBank(width_in, groups=tasks, experts=own, **bank) if own else None
        self.shared = ExpertBank(width_in, groups=1, experts=shared, **bank) if shared else None
        self.gate = make_gate(gate, width_in, groups=tasks, pool=own + shared, width=hidden[-1])
        everyone = {"pool": tasks * own + shared, "width": hidden[-1]}
        self.shared_gate = make_gate(gate, width_in, groups=1, **everyone) if shared_gate else None
        self.pools = {"level 1": pool_names(own, shared)}

    def level(self, x: Blocks | Tensor, x_shared: Blocks | Tensor) -> tuple[Tensor, Tensor | None]:
        """Inputs of the task streams and the shared stream -> (B, T, H) and (B, 1, H) or None."""
        own = [self.own(x)] if self.own else []  # (B, T, own, H)
        shared = [self.shared(x_shared)] if self.shared else []  # (B, 1, shared, H)
        spread = [pool.expand(-1, self.tasks, -1, -1) for pool in shared]
        tasks = self.gate(x, torch.cat(own + spread, dim=2))
        if self.shared_gate is None:
            return tasks, None
        everyone = [pool.flatten(1, 2).unsqueeze(1) for pool in own] + shared
        return tasks, self.shared_gate(x_shared, torch.cat(everyone, dim=2))

    def forward(self, x: Blocks) -> Tensor:
        return self.streams(x, x)

    def streams(self, tasks: Blocks | Tensor, shared: Blocks | Tensor) -> Tensor:
        """Inputs of the tasks, (B, T, D), and of the shared experts, (B, 1, D) -> (B, T, H)."""
        mixed, _ = self.level(tasks, shared)
        return mixed

    @property
    def gates(self) -> dict[str, AnyGate]:
        return {"level 1": self.gate}

    def mixtures(self, x: Blocks) -> dict[str, Tensor]:
        """How much every task takes of each expert in `pools`: level -> (B, T, P)."""
        return watch(self.gates, lambda: self(x))


def pool_names(own: int, shared: int) -> tuple[str, ...]:
    """What a task's gate mixes, in order."""
    return tuple(
        f"{whose} {n}"
        for whose, many in (("own", own), ("shared", shared))
        for n in range(1, many + 1)
    )
