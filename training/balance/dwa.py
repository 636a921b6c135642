"""Dynamic weight average (Liu, Johns and Davison, CVPR 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from training.config.balance import DWABalance
from training.objective import Objective


class DWA:
    """sum of l_k L_k, l = T softmax(r / temperature), r_k = L_k(t - 1) / L_k(t - 2).

    L_k(t) is the mean of the minibatches of epoch t. The first two epochs have l = 1.
    """

    parameters = ()

    def __init__(self, objective: Objective, config: DWABalance) -> None:
        self._objective, self._temperature = objective, config.temperature
        tasks = len(objective.names)
        self._epoch = 0
        self._sum = torch.zeros(tasks, dtype=torch.float64)  # of this epoch
        self._minibatches = torch.zeros(tasks, dtype=torch.float64)  # that held rows of the task
        self._before = torch.full((2, tasks), torch.nan, dtype=torch.float64)  # t - 2, t - 1

    def weights(self) -> Tensor:
        """L (T,), float64, of the current epoch."""
        older, newer = self._before
        ratio = newer / older
        if not torch.isfinite(ratio).all():
            return torch.ones_like(ratio)
        return len(ratio) * torch.softmax(ratio / self._temperature, dim=0)

    def backward(self, losses: Mapping[str, Tensor], epoch: int) -> None:
        if epoch != self._epoch:
            mean = self._sum / self._minibatches
            self._before = torch.stack([self._before[1], mean])
            self._sum, self._minibatches = torch.zeros_like(mean), torch.zeros_like(mean)
            self._epoch = epoch
        weighed = self._objective.of_tasks(losses)
        weights = self.weights().to(weighed)
        ((weights * weighed).sum() + self._objective.besides(losses)).backward()
        seen = weighed.detach().to(self._sum)
        self._sum += seen
        self._minibatches += seen > 0

    def state(self) -> dict[str, Tensor]:
        return {
            "epoch": torch.tensor(self._epoch),
            "sum": self._sum,
            "minibatches": self._minibatches,
            "before": self._before,
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._epoch = int(state["epoch"])
        self._sum, self._minibatches = state["sum"], state["minibatches"]
        self._before = state["before"]
