"""Pooling of multi-valued features: any number of embedding rows become one."""

from collections.abc import Callable

import torch
from torch import Tensor


def mean(rows: Tensor, present: Tensor) -> Tensor:
    """Rows (B, L, dim), present (B, L) bool -> mean of those present (B, dim); of none: 0."""
    weights = present.to(rows.dtype).unsqueeze(2)
    return (rows * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def total(rows: Tensor, present: Tensor) -> Tensor:
    """As `mean`, their sum."""
    return (rows * present.to(rows.dtype).unsqueeze(2)).sum(dim=1)


def largest(rows: Tensor, present: Tensor) -> Tensor:
    """As `mean`, the largest number in each of the `dim` places."""
    least = torch.finfo(rows.dtype).min
    most = rows.masked_fill(~present.unsqueeze(2), least).amax(dim=1)
    return torch.where(present.any(dim=1, keepdim=True), most, 0)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean,
    "sum": total,
    "max": largest,
}
