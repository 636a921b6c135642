"""Gradient surgery (Yu et al., NeurIPS 2020)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.objective import Objective
from training.team import ALONE, Team


class PCGrad:
    """Every task's gradient, less its part against each other task's, added up.

    For each i, for j in random order: if g_i . g_j < 0, g_i <- g_i - (g_i . g_j) / |g_j|^2 g_j,
    with the g_j as they came. Dot products and lengths are those of the shared elements, which at
    least two tasks reach: own experts, gates and towers just add up.
    """

    parameters = ()

    def __init__(self, objective: Objective, ranker: nn.Module, team: Team = ALONE) -> None:
        self._objective, self._ranker, self._team = objective, ranker, team
        self._steps = 0

    def backward(self, losses: Mapping[str, Tensor], epoch: int) -> None:
        weighed = self._objective.of_tasks(losses)
        parameters = [p for p in self._ranker.parameters() if p.requires_grad]
        rows = []
        for loss in weighed:
            found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            flat = zip(parameters, found, strict=True)
            rows.append(torch.cat([_flat(p, g) for p, g in flat]))
        besides = self._objective.besides(losses)
        if besides.requires_grad:
            besides.backward()
        gradients = torch.stack(rows)
        self._team.sum([gradients])
        # the order is the same in every process; the processes' gradients are added up once more
        order = torch.Generator().manual_seed(self._steps)
        parts = surgery(gradients, order) / self._team.size
        sizes = [p.numel() for p in parameters]
        for parameter, part in zip(parameters, parts.split(sizes), strict=True):
            part = part.view_as(parameter)
            parameter.grad = part if parameter.grad is None else parameter.grad + part
        self._steps += 1

    def state(self) -> dict[str, Tensor]:
        return {"steps": torch.tensor(self._steps)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._steps = int(state["steps"])


def surgery(gradients: Tensor, order: torch.Generator) -> Tensor:
    """(T, P), a task a row -> (P,)."""
    total = gradients.sum(0)
    shared = (gradients != 0).sum(0) > 1
    came = gradients[:, shared]
    products = came @ came.T
    projected = came.clone()
    for i in range(len(came)):
        for j in torch.randperm(len(came), generator=order).tolist():
            # |g_j|^2 > 0: a row of zeros has no product below 0
            if j != i and (against := projected[i] @ came[j]) < 0:
                projected[i] -= against / products[j, j] * came[j]
    total[shared] = projected.sum(0)
    return total


def _flat(parameter: Tensor, gradient: Tensor | None) -> Tensor:
    zeros = parameter.new_zeros(parameter.numel())
    return zeros if gradient is None else gradient.flatten()
