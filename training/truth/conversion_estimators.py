"""Ways to learn P(conversion | click) from a log, with the losses that runs are trained with.

Every model is two towers whose logits are linear in x: CTR a = w x + c, CVR b = v x + d. All of the
CTR's loss is the cross-entropy of clicks over all impressions.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from training.losses import binary, inverse_propensity, product
from training.truth.conversion_worlds import Impressions

Loss = Callable[[Tensor, Tensor, Impressions], Tensor]  # of a, b and the rows: one number


class Lines(NamedTuple):
    """What was learned: slope and intercept of both logits."""

    ctr: tuple[float, float]
    cvr: tuple[float, float]

    def predict_cvr(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.cvr[0] * x + self.cvr[1])


def _click_only(a: Tensor, b: Tensor, rows: Impressions) -> Tensor:
    """Conversions of clicked rows alone."""
    clicked = torch.where(rows.click, binary(b, rows.label), 0)
    return _mean(clicked, rows) / _mean(rows.click.double(), rows)


def _esmm(a: Tensor, b: Tensor, rows: Impressions) -> Tensor:
    """P(click) P(conversion | click) against clicked-and-converted, over all impressions."""
    return _mean(product([a, b], rows.label), rows)


def _ips(a: Tensor, b: Tensor, rows: Impressions) -> Tensor:
    """Clicked rows, each weighed by 1 / P(click), which the CTR tower says."""
    propensity = torch.sigmoid(a.detach()).clamp(min=1e-6)
    return _mean(inverse_propensity(binary(b, rows.label), rows.click, propensity), rows)


def _all_missing_as_negative(a: Tensor, b: Tensor, rows: Impressions) -> Tensor:
    """All impressions; what was not clicked counts as not converted."""
    return _mean(binary(b, rows.label), rows)


ESTIMATORS: dict[str, Loss] = {
    "click-only": _click_only,
    "ESMM": _esmm,
    "IPS": _ips,
    "AMAN": _all_missing_as_negative,
}


def learn(name: str, rows: Impressions) -> Lines:
    """Minimise to convergence, in float64: the CTR tower first, then the CVR tower on top of it,
    and ESMM both again at once, since its product reaches both.
    """

    def ctr_loss(ctr: Tensor) -> Tensor:
        return _mean(binary(_at(ctr, rows), rows.click.double()), rows)

    estimator = ESTIMATORS[name]
    ctr = least(ctr_loss, torch.zeros(2))
    cvr = least(lambda cvr: estimator(_at(ctr, rows), _at(cvr, rows), rows), torch.zeros(2))
    if estimator is _esmm:
        both = least(
            lambda both: ctr_loss(both[:2]) + _esmm(_at(both[:2], rows), _at(both[2:], rows), rows),
            torch.cat([ctr, cvr]),
        )
        ctr, cvr = both[:2], both[2:]
    return Lines(tuple(ctr.tolist()), tuple(cvr.tolist()))


def _at(line: Tensor, rows: Impressions) -> Tensor:
    return line[0] * rows.x + line[1]


def least(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Where a smooth function is least."""
    found = start.double().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [found],
        max_iter=300,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(found)
        value.backward()
        return value

    optimizer.step(closure)
    return found.detach()


def _mean(values: Tensor, rows: Impressions) -> Tensor:
    return (values * rows.weight).sum()
