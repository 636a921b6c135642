"""CGC: Tang et al., Progressive Layered Extraction (PLE), RecSys 2020, section 4.1."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.expert_bank import ExpertBank
from training.modules.gate import Gate


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
        shared_gate: bool = False,
    ) -> None:
        super().__init__()
        self.tasks = tasks
        bank = {"hidden": hidden, "dropout": dropout}
        self.own = ExpertBank(width_in, groups=tasks, experts=own, **bank) if own else None
        self.shared = ExpertBank(width_in, groups=1, experts=shared, **bank) if shared else None
        self.gate = Gate(width_in, groups=tasks, pool=own + shared)
        everyone = tasks * own + shared
        self.shared_gate = Gate(width_in, groups=1, pool=everyone) if shared_gate else None

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
        tasks, _ = self.level(x, x)
        return tasks
