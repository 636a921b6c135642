"""How a ranker's logits become named heads.

Knows nothing about losses or files.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from training.rankers.ranker import Ranker


class Heads(nn.Module):
    """A ranker as it is served: encoded input tensors -> one (B,) tensor a head.

    A head is the sigmoid of its task's logit, or the product of other heads, multiplied as they
    are: ctcvr equals ctr * cvr bit for bit.

    Args:
        inputs: names of the positional inputs.
        heads: head name -> None, or the heads it is the product of.
    """

    def __init__(
        self, ranker: Ranker, inputs: Sequence[str], heads: Mapping[str, Sequence[str] | None]
    ) -> None:
        super().__init__()
        self.ranker, self.inputs, self.heads = ranker, tuple(inputs), dict(heads)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        logits = self.ranker(dict(zip(self.inputs, inputs, strict=True)), auxiliary=False)
        return tuple(head_values(logits, self.ranker.tasks, self.heads).values())


def head_values(
    logits: Tensor, tasks: Sequence[str], heads: Mapping[str, Sequence[str] | None]
) -> dict[str, Tensor]:
    """Logits (B, T…) -> head name -> (B,); products come from factors that are no products
    themselves.
    """
    sigmoid = torch.sigmoid(logits)
    values = {head: sigmoid[:, tasks.index(head)] for head, factors in heads.items() if not factors}
    for head, factors in heads.items():
        if factors:
            value = values[factors[0]]
            for factor in factors[1:]:
                value = value * values[factor]
            values[head] = value
    return {head: values[head] for head in heads}
