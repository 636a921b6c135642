"""Isotonic regression on bins, with straight lines between them (Deng et al., 2020: SIR)."""

import torch
from torch import Tensor, nn

_BINS = 200
_STEEPEST = 2.0  # probability per logit; a sigmoid's is 1/4. Steeper, rounding would show in heads


class Isotonic(nn.Module):
    """Straight lines through knots (z_j, p_j), both rising; beyond them p falls as e^z below and
    1 - p as e^-z above. Strictly rising everywhere.  (B,) logits -> (B,) probabilities

    Args:
        logits, values: (K,) knots, K >= 2.
    """

    def __init__(self, logits: Tensor, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", logits.float())
        self.register_buffer("values", values.float())
        slopes = values.double().diff() / logits.double().diff()
        self.register_buffer("slopes", slopes.float())

    def forward(self, logit: Tensor) -> Tensor:
        first, last = self.logits[0], self.logits[-1]
        inside = torch.minimum(torch.maximum(logit, first), last)
        at = (inside.unsqueeze(1) >= self.logits[1:-1]).sum(1)
        value = self.values[at] + self.slopes[at] * (inside - self.logits[at])
        below = torch.exp(torch.clamp(logit - first, max=0.0))
        above = torch.exp(torch.clamp(last - logit, max=0.0))
        # apart, because 1 - (1 - p) keeps few digits of a small p
        return torch.where(logit > last, 1 - (1 - value) * above, value * below)


def fit_isotonic(logit: Tensor, label: Tensor) -> Isotonic | None:
    """Fit on rows; None where the label does not rise with the logit at all.

    Rows are cut into bins of equally many by logit, bins whose mean label falls are pooled
    (`pool_adjacent`), and a line goes through the pools' means: a step for every pool would give
    many items one value. Pools that a line would join too steeply are pooled, too.

    Args:
        logit, label: (N,).
    """
    order = torch.argsort(logit, stable=True)
    z, y = logit.double()[order], label.double()[order]
    bins = torch.arange(len(z)) * min(_BINS, len(z)) // max(len(z), 1)
    rows = torch.bincount(bins).double()
    means = [torch.bincount(bins, weights=values) / rows for values in (z, y)]
    pools = _without_steps(pool_adjacent(*means, rows))
    if len(pools) < 2:
        return None
    knots = torch.tensor([(z, y) for z, y, _ in pools], dtype=torch.float64)
    knots[0, 1] = max(pools[0][1], min(0.5 / (pools[0][2] + 1), pools[1][1] / 2))  # never 0
    knots[-1, 1] = min(pools[-1][1], 1 - min(0.5 / (pools[-1][2] + 1), (1 - pools[-2][1]) / 2))
    return Isotonic(knots[:, 0], knots[:, 1])


Pool = tuple[float, float, float]  # mean logit, mean label, rows


def pool_adjacent(logit: Tensor, label: Tensor, rows: Tensor) -> list[Pool]:
    """Pool adjacent violators: the least-squares fit that rises strictly from pool to pool.

    Args:
        logit, label, rows: (M,) of bins in rising order of the logit.
    """
    pools: list[Pool] = []
    for pool in zip(logit.tolist(), label.tolist(), rows.tolist(), strict=True):
        while pools and pools[-1][1] >= pool[1]:
            pool = _joined(pools.pop(), pool)
        pools.append(pool)
    return pools


def _without_steps(pools: list[Pool]) -> list[Pool]:
    flat: list[Pool] = []
    for pool in pools:
        while flat and pool[1] - flat[-1][1] > _STEEPEST * (pool[0] - flat[-1][0]):
            pool = _joined(flat.pop(), pool)
        flat.append(pool)
    return flat


def _joined(one: Pool, other: Pool) -> Pool:
    rows = one[2] + other[2]
    z, y = ((one[i] * one[2] + other[i] * other[2]) / rows for i in (0, 1))
    return z, y, rows
