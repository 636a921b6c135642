"""The task networks after the gates, all of them at once. Notation: `training.modules`."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks
from training.modules.dropout import Dropout
from training.modules.gate_nu import GateNU
from training.modules.linear import BlockLinear, GroupLinear


class TowerBank(nn.Module):
    """One MLP per task, ReLU between layers.  (B, T, H) -> (B, T) logits

    Args:
        beside: a first layer of the blocks, added to what the first layer makes of x.
        gates: factors for the input of every layer, the first included (PPNet of PEPNet: Chang et
            al., KDD 2023).
        outputs: numbers out of every tower, if not one each: -> (B, sum of outputs), tasks in
            order.
    """

    def __init__(
        self,
        *,
        tasks: int,
        width_in: int,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        outputs: Sequence[int] | None = None,
        beside: BlockLinear | None = None,
        gates: Sequence[GateNU] = (),
    ) -> None:
        super().__init__()
        self.beside, self.gates = beside, nn.ModuleList(gates)
        self.outputs = tuple(outputs or (1,) * tasks)
        most = max(self.outputs)
        # Every tower has as many outputs as the largest; the surplus is never read.
        read = [at * most + i for at, number in enumerate(self.outputs) for i in range(number)]
        self.register_buffer("read", torch.tensor(read), persistent=False)
        self.hidden = nn.ModuleList(
            GroupLinear(tasks, width, following)
            for width, following in pairwise((width_in, *hidden))
        )
        self.out = GroupLinear(tasks, hidden[-1] if hidden else width_in, most)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, blocks: Blocks | None = None) -> Tensor:
        """`blocks`: what `beside` and `gates` read."""
        for depth, layer in enumerate(self.hidden):
            x = self.dropout(torch.relu(self._layer(depth, layer, x, blocks)))
        out = self._layer(len(self.hidden), self.out, x, blocks)
        return out.squeeze(2) if out.shape[2] == 1 else out.flatten(1)[:, self.read]

    def _layer(self, depth: int, layer: GroupLinear, x: Tensor, blocks: Blocks | None) -> Tensor:
        if self.gates:
            x = x * self.gates[depth](blocks)
        out = layer(x)
        return out if depth or self.beside is None else out + self.beside(blocks)

    def set_bias(self, task: int, logits: Tensor) -> None:
        """Start a task's outputs at these logits (its number of outputs)."""
        with torch.no_grad():
            self.out.bias[task, 0, : self.outputs[task]] = logits
