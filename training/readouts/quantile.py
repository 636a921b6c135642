"""Watch seconds as a rank among items of like duration (D2Q, KDD 2022)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_POINTS = 101  # of a group's distribution: every percent


class Quantile(nn.Module):
    """sigmoid(z) predicts the rank phi_k(y) of an amount among the rows of its duration group k; it
    is read as the amount phi_k^-1(sigmoid(z)).

    phi_k goes in straight lines through every percent of the group's amounts in training; an amount
    that many rows share has the middle of its ranks. So phi^-1(phi(y)) = y for all amounts between
    the group's least and largest, and ranks are uniform in every group: what duration alone says of
    the amount is not learned. What is served is the amount of the mean rank, not the mean amount.

    Groups are equally large by quantiles of the duration; one without rows in the task's sample
    space takes the distribution of all rows.

    Args:
        block, column: where the encoded duration is among the inputs.
    """

    outputs = 1
    reads_inputs = True

    def __init__(self, groups: int, block: str, column: int) -> None:
        super().__init__()
        self.groups, self.block, self.column = groups, block, column
        self.register_buffer("edges", torch.arange(1.0, groups))  # (G - 1,) of the duration
        line = torch.linspace(0, 1, _POINTS)
        self.register_buffer("amounts", line.repeat(groups, 1))  # (G, _POINTS), rising

    @property
    def top(self) -> float:
        return max(self.amounts.max().item(), 1e-6)

    def fit(self, label: Tensor, side: Tensor) -> None:
        if not len(label):
            return
        shares = torch.linspace(0, 1, self.groups + 1, dtype=torch.float64)[1:-1]
        self.edges.copy_(_quantiles(side, shares))
        group, points = self._group(side), torch.linspace(0, 1, _POINTS, dtype=torch.float64)
        for at in range(self.groups):
            rows = group == at
            self.amounts[at] = _quantiles(label[rows] if rows.any() else label, points)

    def side(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return inputs[self.block][:, self.column]

    def rank(self, amount: Tensor, side: Tensor) -> Tensor:
        """phi_k: (B,) amounts, (B,) durations -> (B,) in [0, 1]."""
        table = self.amounts[self._group(side)]  # (B, _POINTS)
        amount = amount.unsqueeze(1)
        below, upto = (table < amount).sum(1), (table <= amount).sum(1)
        between = below == upto
        left = (below - 1).clamp(0, _POINTS - 2)
        low, high = (table.gather(1, (left + i).unsqueeze(1)).squeeze(1) for i in (0, 1))
        inside = ((amount.squeeze(1) - low) / (high - low)).clamp(0, 1)
        # on points: those from `below` to `upto` - 1 hold this amount
        place = torch.where(between, left + inside, (below + upto - 1) / 2)
        return place / (_POINTS - 1)

    def loss(self, logit: Tensor, label: Tensor, side: Tensor) -> Tensor:
        return (torch.sigmoid(logit) - self.rank(label, side)).square()

    def start(self, label: Tensor, side: Tensor) -> Tensor:
        mean = self.rank(label, side).double().mean() if len(label) else torch.tensor(0.5)
        return torch.logit(mean.double(), eps=1e-6).unsqueeze(0)

    def forward(self, logit: Tensor, side: Tensor) -> Tensor:
        place = torch.sigmoid(logit) * (_POINTS - 1)
        left = place.floor().clamp(max=_POINTS - 2)
        at = self._group(side) * _POINTS + left.to(torch.int64)
        flat = self.amounts.flatten()
        low, high = flat[at], flat[at + 1]
        return low + (place - left) * (high - low)

    def _group(self, side: Tensor) -> Tensor:
        return (side.unsqueeze(1) >= self.edges).sum(1)


def _quantiles(values: Tensor, shares: Tensor) -> Tensor:
    """As `torch.quantile`, of any number of values."""
    values = values.double().sort().values
    place = shares * (len(values) - 1)
    left = place.floor().long()
    right = (left + 1).clamp(max=len(values) - 1)
    return values[left] + (place - left) * (values[right] - values[left])
