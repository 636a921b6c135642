"""The whole network: embedding -> input blocks -> trunk -> towers -> logits.

Knows nothing about losses or files.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks
from training.modules.embedding import FeatureEmbedding
from training.modules.linear import BlockLinear, multiply_together
from training.modules.tower_bank import TowerBank
from training.rankers.towers import TowersApart
from training.readouts.probability import Probability
from training.readouts.readouts import Readouts


class Ranker(nn.Module):
    """Encoded inputs -> logits (B, T + A) of T tasks, then A auxiliary ones.

    An auxiliary task is one more tower on the representation of a task it stands beside; it is
    trained with the others and left out of what is served.

    Args:
        tasks: names of the T tasks, in the trunk's order.
        beside: auxiliary task -> the task whose representation it reads.
        inputs: blocks between embedding and trunk, each Blocks -> Blocks.
        towers, auxiliary: those of T and A tasks; `auxiliary` is None when A = 0.
        linear: a linear term beside the network, added to all T + A logits, or None.
        readouts: what the tasks' logits say; by default probabilities.

    Where towers have several outputs, T and A count these.
    """

    def __init__(
        self,
        *,
        embedding: FeatureEmbedding,
        inputs: Sequence[nn.Module] = (),
        trunk: nn.Module,
        towers: TowerBank | TowersApart,
        tasks: Sequence[str],
        beside: Mapping[str, str] | None = None,
        auxiliary: TowerBank | TowersApart | None = None,
        linear: BlockLinear | None = None,
        readouts: Readouts | None = None,
    ) -> None:
        super().__init__()
        self.embedding, self.trunk, self.towers = embedding, trunk, towers
        self.auxiliary, self.linear = auxiliary, linear
        self.inputs = nn.ModuleList(inputs)
        self.tasks = tuple(tasks)
        self.beside = dict(beside or {})
        self.readouts = readouts or Readouts({task: Probability() for task in self.tasks})
        self._streams = [self.tasks.index(task) for task in self.beside.values()]

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The task of every column of the logits: tasks, then auxiliary tasks."""
        names = [n for n, m in zip(self.tasks, self.towers.outputs, strict=True) for _ in range(m)]
        if self.auxiliary is not None:
            outputs = zip(self.beside, self.auxiliary.outputs, strict=True)
            names += [name for name, number in outputs for _ in range(number)]
        return tuple(names)

    def read(self, inputs: Mapping[str, Tensor]) -> Blocks:
        """What the trunk sees of these inputs by name, each (B, width)."""
        x = self.embedding(inputs)
        for block in self.inputs:
            x = block(x)
        return x

    def forward(self, inputs: Mapping[str, Tensor], *, auxiliary: bool = True) -> Tensor:
        """Inputs by name, each (B, width) -> logits (B, T + A), or (B, T) without the auxiliary
        ones.
        """
        x = self.read(inputs)
        if self.training:
            multiply_together(x, self._first_layers())
        streams = self.trunk(x)  # (B, T, H)
        logits = self.towers(streams, x)
        if auxiliary and self.auxiliary is not None:
            beside = self.auxiliary(streams[:, self._streams], x)
            logits = torch.cat([logits, beside], dim=1)
        if self.linear is not None:
            logits = logits + self.linear(x).squeeze(2)[:, : logits.shape[1]]
        return logits

    def _first_layers(self) -> Iterator[BlockLinear]:
        for part in (self.trunk, self.towers, self.auxiliary, self.linear):
            if part is not None:
                yield from (layer for layer in part.modules() if isinstance(layer, BlockLinear))

    def set_output_bias(self, logits: Mapping[str, float | Tensor]) -> None:
        """Start every task's outputs at the given logits (its base rate)."""
        for at, name in enumerate(self.tasks):
            self.towers.set_bias(at, logits[name])
        for at, name in enumerate(self.beside):
            self.auxiliary.set_bias(at, logits[name])
