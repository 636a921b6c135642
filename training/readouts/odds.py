"""Watch seconds as odds: weighted logistic regression (Covington et al., RecSys 2016)."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from training.losses import weighted_logistic


class Odds(nn.Module):
    """e^z, never the sigmoid, of a logit trained with weight y on a positive and 1 on a negative.

    The constant that minimises the loss has e^z = sum(y) / (number of negatives): with every row a
    negative that is the mean; with only the rows of y = 0 it is the mean / P(y = 0).

    Served values end at the largest amount seen in training: one wild logit would otherwise
    outweigh every other head.
    """

    outputs = 1
    reads_inputs = False

    def __init__(self, negatives: Literal["every", "zero"] = "every") -> None:
        super().__init__()
        self.negatives = negatives
        self.register_buffer("most", torch.tensor(1.0))  # in the label's unit

    @property
    def top(self) -> float:
        return self.most.item()

    def fit(self, label: Tensor, side: None = None) -> None:
        if len(label):
            self.most.fill_(max(label.max().item(), 1e-6))

    def side(self, inputs: Mapping[str, Tensor]) -> None:
        return None

    def loss(self, logit: Tensor, label: Tensor, side: None = None) -> Tensor:
        return weighted_logistic(logit, label, self._negative(label))

    def start(self, label: Tensor, side: None = None) -> Tensor:
        negatives = self._negative(label).double().sum()
        return torch.log((label.double().sum() + 0.5) / (negatives + 1)).unsqueeze(0)

    def forward(self, logit: Tensor, side: None = None) -> Tensor:
        return torch.exp(torch.minimum(logit, self.most.log()))

    def _negative(self, label: Tensor) -> Tensor:
        every = self.negatives == "every"
        return torch.ones_like(label) if every else (label == 0).to(label.dtype)
