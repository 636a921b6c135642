"""PLE: Tang et al., Progressive Layered Extraction (PLE), RecSys 2020, section 4.2."""

from collections.abc import Sequence

from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.gate import AnyGate, GateKind, watch
from training.rankers.cgc import CGC, pool_names


class PLE(nn.Module):
    """Levels of CGC, one stream per task and a shared one.  Blocks -> (B, T, H)

    g^{k,j} = softmax(W^{k,j} g^{k,j-1}) S^{k,j},  g^{k,0} = g^{s,0} = x,  y^k = t^k(g^{k,N})   (eq.
    6-7)

    A gate's selector is its own stream's output of the level below, at level 1 the input. The
    shared gate mixes all experts of its level; the last level has none, so task j's loss reaches
    another
    task's experts only through the shared gates of lower levels.
    """

    def __init__(
        self,
        width_in: Widths | int,
        *,
        tasks: int,
        levels: int,
        own: int,
        shared: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
        gate: GateKind = "softmax",
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            CGC(
                width_in if level == 0 else hidden[-1],
                tasks=tasks,
                own=own,
                shared=shared,
                hidden=hidden,
                dropout=dropout,
                gate=gate,
                shared_gate=level < levels - 1,
            )
            for level in range(levels)
        )
        self.pools = {f"level {n}": pool_names(own, shared) for n in range(1, levels + 1)}

    def forward(self, x: Blocks) -> Tensor:
        return self.streams(x, x)

    def streams(self, tasks: Blocks | Tensor, shared: Blocks | Tensor) -> Tensor:
        """Inputs of the task streams, (B, T, D), and of the shared one, (B, 1, D) -> (B, T, H)."""
        for level in self.levels:
            tasks, shared = level.level(tasks, shared)
        return tasks

    @property
    def gates(self) -> dict[str, AnyGate]:
        return {level: part.gate for level, part in zip(self.pools, self.levels, strict=True)}

    def mixtures(self, x: Blocks) -> dict[str, Tensor]:
        """How much every task takes of each expert in `pools`: level -> (B, T, P)."""
        return watch(self.gates, lambda: self(x))
