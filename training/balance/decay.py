"""Weights that grow or shrink by a rate (PLE, RecSys 2020, eq. 10)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from training.config.balance import DecayBalance
from training.objective import Objective


class Decay:
    """sum of w_k g_k^t L_k, t the finished epochs or steps."""

    parameters = ()

    def __init__(self, objective: Objective, config: DecayBalance) -> None:
        self._objective, self._unit = objective, config.unit
        self._rates = torch.tensor([config.rates.get(n, 1.0) for n in objective.names])
        self._steps = 0

    def factors(self, epoch: int) -> Tensor:
        """g_k^t (T,) of the step that comes next."""
        return self._rates ** (epoch if self._unit == "epoch" else self._steps)

    def backward(self, losses: Mapping[str, Tensor], epoch: int) -> None:
        weighed = self._objective.of_tasks(losses)
        factors = self.factors(epoch).to(weighed)
        ((factors * weighed).sum() + self._objective.besides(losses)).backward()
        self._steps += 1

    def state(self) -> dict[str, Tensor]:
        return {"steps": torch.tensor(self._steps)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._steps = int(state["steps"])
