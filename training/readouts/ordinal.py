"""Watch seconds as a ladder of thresholds (CREAD, AAAI 2024)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional


class Ordinal(nn.Module):
    """M logits, P(y >= t_m) each; read as E[y] = mu_0 + sum_m P(y >= t_m)(mu_m - mu_(m-1)).

    mu_m is the mean amount between t_m and t_(m+1) in the training rows, so true probabilities give
    the exact mean whatever lies between thresholds. The paper's sum of P (t_m - t_(m-1)) is the
    case mu_m = t_m, mu_0 = 0: an amount that takes only those values.

    Thresholds are quantiles of the amounts above the least one. Where many rows share an amount,
    several thresholds fall on it; they say the same, and all but one add nothing.
    """

    reads_inputs = False

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.outputs = bins
        self.register_buffer("thresholds", torch.arange(1.0, bins + 1))  # (M,) rising
        self.register_buffer("steps", torch.ones(bins))  # (M,) mu_m - mu_(m-1), >= 0
        self.register_buffer("least", torch.tensor(0.0))  # mu_0

    @property
    def top(self) -> float:
        return max((self.least + self.steps.sum()).item(), 1e-6)

    def fit(self, label: Tensor, side: None = None) -> None:
        label = label.double()
        if not len(label):
            return
        above = label[label > label.min()]
        above = above if len(above) else label
        shares = torch.linspace(0, 1, self.outputs + 2, dtype=torch.float64)[1:-1]
        self.thresholds.copy_(torch.quantile(_thinned(above), shares))
        bins = torch.bucketize(label, self.thresholds.double(), right=True)
        rows = torch.bincount(bins, minlength=self.outputs + 1)
        means = torch.bincount(bins, weights=label, minlength=self.outputs + 1) / rows
        for at in range(self.outputs + 1):
            if not rows[at]:  # below a constant label, or between two equal thresholds
                means[at] = means[at - 1] if at else label.min()
        self.least.copy_(means[0])
        self.steps.copy_(means.diff())

    def side(self, inputs: Mapping[str, Tensor]) -> None:
        return None

    def loss(self, logit: Tensor, label: Tensor, side: None = None) -> Tensor:
        reached = self._reached(label).to(logit.dtype)
        return functional.binary_cross_entropy_with_logits(logit, reached, reduction="none").mean(1)

    def start(self, label: Tensor, side: None = None) -> Tensor:
        rate = (self._reached(label).double().sum(0) + 0.5) / (len(label) + 1)
        return torch.logit(rate)

    def forward(self, logit: Tensor, side: None = None) -> Tensor:
        return self.least + torch.sigmoid(logit) @ self.steps

    def _reached(self, label: Tensor) -> Tensor:
        """(B,) -> (B, M) bool."""
        return label.unsqueeze(1) >= self.thresholds


def _thinned(values: Tensor, most: int = 1_000_000) -> Tensor:
    """Sorted, evenly thinned to what `torch.quantile` takes."""
    values = values.sort().values
    return values[torch.linspace(0, len(values) - 1, min(len(values), most)).long()]
