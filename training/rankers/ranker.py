"""The whole network: embedding -> trunk -> towers -> logits.

Knows nothing about losses or files.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from training.modules.embedding import FeatureEmbedding
from training.modules.linear import BlockLinear
from training.modules.tower_bank import TowerBank


class Ranker(nn.Module):
    """Encoded inputs -> logits (B, T + A) of T tasks, then A auxiliary ones.

    An auxiliary task is one more tower on the representation of a task it stands beside; it is
    trained with the others and left out of what is served.

    Args:
        tasks: names of the T tasks, in the trunk's order.
        beside: auxiliary task -> the task whose representation it reads.
        towers, auxiliary: tower banks of T and A tasks; `auxiliary` is None when A = 0.
        linear: a linear term beside the network, added to all T + A logits, or None.
    """

    def __init__(
        self,
        *,
        embedding: FeatureEmbedding,
        trunk: nn.Module,
        towers: TowerBank,
        tasks: Sequence[str],
        beside: Mapping[str, str] | None = None,
        auxiliary: TowerBank | None = None,
        linear: BlockLinear | None = None,
    ) -> None:
        super().__init__()
        self.embedding, self.trunk, self.towers = embedding, trunk, towers
        self.auxiliary, self.linear = auxiliary, linear
        self.tasks = tuple(tasks)
        self.beside = dict(beside or {})
        self._streams = [self.tasks.index(task) for task in self.beside.values()]

    @property
    def logit_names(self) -> tuple[str, ...]:
        """Names of the columns of the logits: tasks, then auxiliary tasks."""
        return (*self.tasks, *self.beside)

    def forward(self, inputs: Mapping[str, Tensor], *, auxiliary: bool = True) -> Tensor:
        """Inputs by name, each (B, width) -> logits (B, T + A), or (B, T) without the auxiliary
        ones.
        """
        x = self.embedding(inputs)
        streams = self.trunk(x)  # (B, T, H)
        logits = self.towers(streams)
        if auxiliary and self.auxiliary is not None:
            logits = torch.cat([logits, self.auxiliary(streams[:, self._streams])], dim=1)
        if self.linear is not None:
            logits = logits + self.linear(x).squeeze(2)[:, : logits.shape[1]]
        return logits

    def set_output_bias(self, logits: Mapping[str, float]) -> None:
        """Start every task's output at the given logit (its base rate)."""
        with torch.no_grad():
            for at, name in enumerate(self.tasks):
                self.towers.out.bias[at] = logits[name]
            for at, name in enumerate(self.beside):
                self.auxiliary.out.bias[at] = logits[name]
