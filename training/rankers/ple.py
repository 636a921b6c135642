"""PLE: Tang et al., Progressive Layered Extraction (PLE), RecSys 2020, section 4.2."""

from collections.abc import Sequence

from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.rankers.cgc import CGC


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
        widths: Widths,
        *,
        tasks: int,
        levels: int,
        own: int,
        shared: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            CGC(
                widths if level == 0 else hidden[-1],
                tasks=tasks,
                own=own,
                shared=shared,
                hidden=hidden,
                dropout=dropout,
                shared_gate=level < levels - 1,
            )
            for level in range(levels)
        )

    def forward(self, x: Blocks) -> Tensor:
        tasks = shared = x
        for level in self.levels:
            tasks, shared = level.level(tasks, shared)
        return tasks
