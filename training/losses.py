"""Losses in logit or log space, each the mean over its sample space: sum(delta l) / sum(delta).

N rows. Labels outside a task's space may be NaN: they are never read.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

# Below 0 by more than float32 resolves near 1: log(1 - c) stays finite when every factor is
# certain.
_ALMOST_CERTAIN = -1e-6


def binary(logit: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of sigmoid(logit); soft labels in [0, 1] are welcome.  (N,), (N,) -> (N,)"""
    return functional.binary_cross_entropy_with_logits(logit, label, reduction="none")


def squared(logit: Tensor, label: Tensor) -> Tensor:
    """Squared error of sigmoid(logit), for targets in [0, 1].  (N,), (N,) -> (N,)"""
    return (torch.sigmoid(logit) - label).square()


def product(logits: Sequence[Tensor], label: Tensor) -> Tensor:
    """Cross-entropy of c = prod sigmoid(logit), in log space (Ma et al., SIGIR 2018, eq. 3).

    log c = sum log sigmoid(a); log(1 - c) = log(-expm1(log c)). In probability space 1 - c loses
    digits.
    """
    log_c = sum(functional.logsigmoid(a) for a in logits).clamp(max=_ALMOST_CERTAIN)
    return -(label * log_c + (1 - label) * log1mexp(log_c))


def weighted_logistic(logit: Tensor, amount: Tensor, negative: Tensor) -> Tensor:
    """-amount log sigmoid(z) - negative log(1 - sigmoid(z)), least at odds e^z = sum(amount) /
    sum(negative).  (N,), (N,) -> (N,)
    """
    return amount * functional.softplus(-logit) + negative * functional.softplus(logit)


def inverse_propensity(error: Tensor, observed: Tensor, propensity: Tensor) -> Tensor:
    """O e / q, whose mean over all rows is that of e when q is P(o | x).  (N,) -> (N,)

    Args:
        error: of each row; what stands where nothing was observed is never read.
        propensity: detached and floored by the caller.
    """
    return torch.where(observed, error / propensity, 0)


def doubly_robust(
    error: Tensor, imputed: Tensor, observed: Tensor, propensity: Tensor
) -> tuple[Tensor, Tensor]:
    """ê + o (e - ê) / q, and the imputation's own loss o (e - ê)^2 / q.  (N,) -> (N,), (N,)

    The first has the mean of e when q or ê is right. The second takes e as a target: it teaches
    only the imputation. Since ê does not depend on the logit that e is the error of, that logit's
    gradient is the one of `inverse_propensity`; what ê adds goes through the layers both share.
    """
    left = torch.where(observed, error - imputed, 0)
    missed = torch.where(observed, error.detach() - imputed, 0)
    return imputed + left / propensity, missed.square() / propensity


def rising(probabilities: Sequence[Tensor]) -> Tensor:
    """Sum over neighbours of mean(max(p_t - p_(t-1), 0)), AITM's calibrator; 0 with zero gradients
    when probabilities fall along the chain.
    """
    return sum(torch.relu(later - before).mean() for before, later in pairwise(probabilities))


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, exact to rounding at both ends."""
    near_one = x > -math.log(2)
    # The branch not taken gets a harmless argument: its gradient would be 0 * inf otherwise.
    small = torch.log(-torch.expm1(torch.where(near_one, x, -1.0)))
    large = torch.log1p(-torch.exp(torch.where(near_one, -1.0, x)))
    return torch.where(near_one, small, large)


def over_space(
    loss: Callable[..., Tensor], logits: Sequence[Tensor], label: Tensor, space: Tensor
) -> Tensor:
    """Mean of `loss` over the rows of a sample space; exactly 0, with zero gradients, when it is
    empty.

    Args:
        loss: of (logits, labels), row by row; `product` takes a list of logits, another loss what
            stands beside its logits after the labels.
        logits: one (N,) or (N, m) tensor and what stands beside it, or the factors of a product.
        label, space: (N,), (N,) bool.
    """
    inside = [a[space] for a in logits]
    if not len(inside[0]):
        return sum(a.sum() for a in inside)
    if loss is product:
        return product(inside, label[space]).mean()
    first, *beside = inside
    return loss(first, label[space], *beside).mean()
