"""How a ranker's logits become named heads.

Knows nothing about losses or files.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from training.rankers.columns import columns_of
from training.rankers.ranker import Ranker
from training.readouts.readouts import Readouts


class Heads(nn.Module):
    """A ranker as it is served: encoded input tensors -> one (B,) tensor a head.

    A head is what its task's readout says, or the product of other heads, multiplied as they are:
    ctcvr equals ctr * cvr bit for bit. So a calibrated factor is calibrated in the product, too,
    and the product itself is not: what its factors' errors have in common stays in it.

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
        named = dict(zip(self.inputs, inputs, strict=True))
        ranker = self.ranker
        logits = ranker(named, auxiliary=False)
        values = head_values(logits, ranker.logit_names, self.heads, ranker.readouts, named)
        return tuple(values.values())


def head_values(
    logits: Tensor,
    names: Sequence[str],
    heads: Mapping[str, Sequence[str] | None],
    readouts: Readouts,
    inputs: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Logits (B, L…) -> head name -> (B,); products come from factors that are no products
    themselves.

    Args:
        names: the task of every column, as `Ranker.logit_names`.
        inputs: what some readouts read besides logits; the others do without.
    """
    values = {}
    for head, factors in heads.items():
        if not factors:
            readout = readouts[head]
            side = readout.side(inputs or {})
            values[head] = readout(columns_of(logits, names, head), side)
    for head, factors in heads.items():
        if factors:
            value = values[factors[0]]
            for factor in factors[1:]:
                value = value * values[factor]
            values[head] = value
    return {head: values[head] for head in heads}
