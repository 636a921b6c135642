"""Platt scaling: sigmoid(a z + b) (Platt, 1999)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 100


class Platt(nn.Module):
    """sigmoid(slope * z + offset), slope > 0.  (B,) -> (B,)"""

    def __init__(self, slope: float, offset: float) -> None:
        super().__init__()
        self.register_buffer("slope", torch.tensor(slope, dtype=torch.float32))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32))

    def forward(self, logit: Tensor) -> Tensor:
        return torch.sigmoid(self.slope * logit + self.offset)


def fit_platt(logit: Tensor, label: Tensor) -> Platt:
    """The slope and offset of least cross-entropy, by Newton's method in float64.

    Labels may be soft. There is no regularisation, so predictions sum to the labels. Where the
    best slope is not positive, order would be lost: then the slope is 1 and only the offset
    fitted.

    Args:
        logit, label: (N,); labels not all 0 and not all 1.
    """
    z, y = logit.double(), label.double()
    slope, offset = _newton(torch.stack([z, torch.ones_like(z)]), torch.zeros_like(z), y).tolist()
    if not slope > 0:
        slope, (offset,) = 1.0, _newton(torch.ones(1, len(z), dtype=z.dtype), z, y).tolist()
    return Platt(slope, offset)


def _newton(x: Tensor, fixed: Tensor, y: Tensor) -> Tensor:
    """Coefficients (F,) of sigmoid(fixed + c @ x), x (F, N); halves a step that makes it worse."""

    def loss(c: Tensor) -> Tensor:
        z = fixed + c @ x
        return (functional.softplus(z) - y * z).mean()

    c = x.new_zeros(len(x))
    for _ in range(_STEPS):
        p = torch.sigmoid(fixed + c @ x)
        gradient = x @ (p - y) / len(y)
        curvature = (x * (p * (1 - p))) @ x.T / len(y)
        curvature += 1e-12 * torch.eye(len(x), dtype=x.dtype)  # of constant logits
        step = torch.linalg.solve(curvature, gradient)
        before = loss(c)
        while not loss(c - step) <= before and step.norm() > 1e-12:
            step = step / 2
        c = c - step
        if step.norm() < 1e-12:
            break
    return c
