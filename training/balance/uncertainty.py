"""A learned uncertainty a task (Kendall, Gal and Cipolla, CVPR 2018)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from training.objective import Objective


class Uncertainty:
    """sum of c_k e^(-s_k) L_k + s_k / 2, with c = 1/2 for squared errors, 1 for cross-entropies.

    s = log sigma^2 is learned with the network and free to go below 0 (clamped there, the method
    does nothing for any loss under 1/2). At its optimum a task's weight is 1 / (2 L) in both forms,
    so every task contributes 1/2; the sum may be negative.

    Args:
        squared: (T) whether a task's loss is a squared error.
    """

    def __init__(
        self, objective: Objective, squared: Sequence[bool], device: torch.device | None = None
    ) -> None:
        self._objective = objective
        self._c = torch.tensor([0.5 if s else 1.0 for s in squared])
        self.log_variance = nn.Parameter(torch.zeros(len(squared), device=device))

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        return (self.log_variance,)

    def total(self, weighed: Tensor) -> Tensor:
        """(T,) weight * loss -> what is minimised."""
        s = self.log_variance
        return (self._c.to(weighed) * torch.exp(-s) * weighed + s / 2).sum()

    def backward(self, losses: Mapping[str, Tensor], epoch: int) -> None:
        weighed = self._objective.of_tasks(losses)
        (self.total(weighed) + self._objective.besides(losses)).backward()

    def state(self) -> dict[str, Tensor]:
        return {"log_variance": self.log_variance.detach()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            self.log_variance.copy_(state["log_variance"])
