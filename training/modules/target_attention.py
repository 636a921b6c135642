"""Target attention over a user's sequence: Zhou et al., Deep Interest Network (DIN), KDD 2018."""

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Layout, Listed


class TargetAttention(nn.Module):
    """Append sum_j a(e_j, v) e_j, e_j the sequence's rows and v the target's (eq. 3).

    The activation unit a is an MLP with PReLU on (v, e_j, v * e_j); the difference v - e_j, which
    other code adds, is a linear map of the first two. Its weights are not normalised unless
    `softmax` is set: their sum says how strong the interest is. Order plays no part; entries that
    are absent, or out of vocabulary, have weight 0.  Blocks -> Blocks, `dim` columns more

    Args:
        sequence: an unpooled feature, in `Blocks.lists`.
        target: a single-valued feature; it shares its embedding rows with the sequence.
        hidden: width of the activation unit (36 in the paper).
        name: of the new columns.
    """

    called = "target attention"

    def __init__(
        self,
        layout: Layout,
        *,
        sequence: str,
        target: str,
        hidden: int = 36,
        softmax: bool = False,
        name: str,
    ) -> None:
        super().__init__()
        (field,) = layout.select([target])
        self.sequence, self.softmax = sequence, softmax
        columns = layout.columns([field])
        self.start, self.end = int(columns[0]), int(columns[-1]) + 1
        self.of_target = nn.Linear(field.width, hidden)
        self.of_entry = nn.Linear(field.width, hidden, bias=False)
        self.of_product = nn.Linear(field.width, hidden, bias=False)
        self.bend = nn.PReLU()
        self.out = nn.Linear(hidden, 1)
        self.layout = layout.with_cross(name, field.width, embedded=True)

    def forward(self, x: Blocks) -> Blocks:
        return x.with_cross(
            self.interest(x.whole[:, self.start : self.end], x.lists[self.sequence])
        )

    def interest(self, target: Tensor, sequence: Listed) -> Tensor:
        """Target (B, dim) and sequence -> the new columns alone, (B, dim)."""
        weights = self.weights(target, sequence).unsqueeze(1)  # (B, 1, L)
        return (weights @ sequence.rows).squeeze(1)

    def weights(self, target: Tensor, sequence: Listed) -> Tensor:
        """(B, L), 0 where nothing is."""
        rows, present = sequence
        target = target.unsqueeze(1)
        hidden = self.of_target(target) + self.of_entry(rows) + self.of_product(target * rows)
        scores = self.out(self.bend(hidden)).squeeze(2)
        if self.softmax:
            scores = scores.masked_fill(~present, torch.finfo(scores.dtype).min).softmax(dim=1)
        return scores * present.to(scores.dtype)
