"""A sigmoid: P(event), or an amount in [0, 1]; calibrated and corrected for sampling, if so set."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from training.losses import binary


class Probability(nn.Module):
    """sigmoid(z), or what a calibration makes of z; then corrected for down-sampled negatives.

    Where the log kept the share r of the negatives, p r / (1 - p + p r) is the probability in the
    unsampled log (it is sigmoid(z + ln r)). The calibration comes first: it is fitted on sampled
    rows.

    Args:
        of_row: loss of (logit, label), row by row.
        negative_rate: r; 1 changes nothing.
    """

    outputs = 1
    reads_inputs = False
    top = 1.0

    def __init__(
        self,
        of_row: Callable[[Tensor, Tensor], Tensor] = binary,
        *,
        negative_rate: float = 1.0,
    ) -> None:
        super().__init__()
        self.of_row, self.negative_rate = of_row, negative_rate
        self.calibration: nn.Module | None = None  # (B,) logits -> (B,) probabilities

    def fit(self, label: Tensor, side: None = None) -> None:
        """Knows all it needs."""

    def side(self, inputs: Mapping[str, Tensor]) -> None:
        return None

    def loss(self, logit: Tensor, label: Tensor, side: None = None) -> Tensor:
        return self.of_row(logit, label)

    def start(self, label: Tensor, side: None = None) -> Tensor:
        rate = (label.double().sum().item() + 0.5) / (len(label) + 1)  # never 0 or 1
        return torch.tensor([math.log(rate / (1 - rate))])

    def forward(self, logit: Tensor, side: None = None) -> Tensor:
        p = torch.sigmoid(logit) if self.calibration is None else self.calibration(logit)
        if self.negative_rate == 1:
            return p
        kept = p * self.negative_rate
        return kept / (1 - p + kept)
