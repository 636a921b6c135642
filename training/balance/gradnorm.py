"""GradNorm (Chen et al., ICML 2018)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.config.balance import GradNormBalance
from training.objective import Objective
from training.team import ALONE, Team

_LEAST = 1e-3  # of a weight, before they are rescaled: at 0 it could never come back


class GradNormError(ValueError):
    """No layer to measure gradients on; the sentence says which there are."""


class GradNorm:
    """sum of w_k L_k, with w moved so that G_k = |w_k grad_W L_k| nears mean(G) r_k^alpha.

    r_k = (L_k / L_k(0)) / mean of these: larger for a task that learned less than the others. The
    target is a constant; only w follows the gradient of sum |G_k - target_k|, which is
    sign(G_k - target_k) |grad_W L_k|; then w is rescaled to sum T. The network learns from the w
    before that step. L_k(0) is the loss on the first minibatch that holds the task's rows; a task
    without rows in a minibatch has no part in it.

    W is the last parameter of the trunk (or, where none is shared, of the embedding) that all tasks
    reach, and of it only the elements that all of them reach: one parameter holds shared and own
    experts. It is found on the first minibatch where every task has rows; until then w stays.
    """

    parameters = ()

    def __init__(
        self,
        objective: Objective,
        config: GradNormBalance,
        ranker: nn.Module,
        team: Team = ALONE,
    ) -> None:
        self._objective, self._config, self._team = objective, config, team
        inner = {f"trunk.{n}": p for n, p in ranker.trunk.named_parameters() if p.dim() > 1}
        outer = {f"embedding.{n}": p for n, p in ranker.embedding.named_parameters()}
        self._candidates = outer | inner
        if config.layer is not None:
            if config.layer not in self._candidates:
                raise GradNormError(
                    f"train.balance.layer: {config.layer!r} is no parameter of the model"
                    f" ({', '.join(self._candidates)})"
                )
            self._candidates = {config.layer: self._candidates[config.layer]}
        self.weights = torch.ones(len(objective.names))
        self._first = torch.full((len(objective.names),), torch.nan)  # L(0)
        self._layer: int | None = None  # of the candidates
        self._shared = torch.empty(0)  # which of its elements

    def backward(self, losses: Mapping[str, Tensor], epoch: int) -> None:
        weighed = self._objective.of_tasks(losses)
        seen = weighed.detach()
        first = self._first.to(seen)
        self._first = torch.where(torch.isnan(first) & (seen > 0), seen, first)
        weights = self.weights.to(seen)
        if self._layer is None and (seen > 0).all():
            self._find(weighed)
        if self._layer is not None:
            layer = list(self._candidates.values())[self._layer]
            norms = [(g * self._shared.to(g)).norm() for g in self._gradients(weighed, [layer])[0]]
            self.weights = self.moved(weights, torch.stack(norms), seen / self._first, seen > 0)
        ((weights * weighed).sum() + self._objective.besides(losses)).backward()

    def moved(self, weights: Tensor, norms: Tensor, left: Tensor, there: Tensor) -> Tensor:
        """The next weights.

        Args:
            norms: |grad_W L_k| (T,).
            left: L_k / L_k(0) (T,).
            there: (T,) bool, tasks with rows.
        """
        if not there.any():
            return weights
        size = weights * norms
        rate = left / left[there].mean()
        target = size[there].mean() * rate.pow(self._config.alpha)
        step = self._config.learning_rate * torch.sign(size - target) * norms
        moved = torch.where(there, weights - step, weights).clamp(min=_LEAST)
        return moved * len(moved) / moved.sum()

    def state(self) -> dict[str, Tensor]:
        found = -1 if self._layer is None else self._layer
        return {
            "weights": self.weights,
            "first": self._first,
            "layer": torch.tensor(found),
            "shared": self._shared,
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.weights, self._first, self._shared = state["weights"], state["first"], state["shared"]
        found = int(state["layer"])
        self._layer = None if found < 0 else found

    def _find(self, weighed: Tensor) -> None:
        gradients = self._gradients(weighed, list(self._candidates.values()))
        for at in reversed(range(len(gradients))):
            shared = torch.stack([g != 0 for g in gradients[at]]).all(0)
            if shared.any():
                self._layer, self._shared = at, shared.to(weighed.dtype)
                return
        raise GradNormError(
            f"gradnorm: no parameter is shared by all tasks ({', '.join(self._candidates)})"
        )

    def _gradients(self, losses: Tensor, parameters: list[nn.Parameter]) -> list[list[Tensor]]:
        """By parameter, then by task; zeros where a loss does not reach a parameter."""
        by_task = [
            torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            for loss in losses
        ]
        found = [
            [torch.zeros_like(p) if g is None else g for g in of_tasks]
            for p, of_tasks in zip(parameters, zip(*by_task, strict=True), strict=True)
        ]
        self._team.sum([g for of_tasks in found for g in of_tasks])
        return found
