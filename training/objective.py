"""What a run minimises: the losses of its tasks, each over its own sample space, weighed and added.

A product head (ESMM's ctcvr) is a loss on other tasks' logits; it needs no branch in any network.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.config.task import Task
from training.losses import binary, over_space, product, squared

_LOSSES = {"bce": binary, "mse": squared}


class Objective:
    """Losses of tasks with a loss, in the order of the configuration.

    Args:
        tasks: the run's tasks; column k of labels and spaces belongs to task k.
        logit_names: names of the logit columns.
    """

    def __init__(self, tasks: Sequence[Task], logit_names: Sequence[str]) -> None:
        self._terms = [
            (at, task, [logit_names.index(name) for name in task.product or (task.name,)])
            for at, task in enumerate(tasks)
            if task.loss_name != "none"
        ]
        self.names = tuple(task.name for _, task, _ in self._terms)

    def losses(self, logits: Tensor, labels: Tensor, spaces: Tensor) -> dict[str, Tensor]:
        """Logits (B, T + A), labels and spaces (B, K) -> unweighed mean loss by task."""
        return {
            task.name: over_space(
                product if task.product else _LOSSES[task.loss_name],
                [logits[:, column] for column in columns],
                labels[:, at],
                spaces[:, at],
            )
            for at, task, columns in self._terms
        }

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Sum of weight * loss."""
        weights = {task.name: task.weight for _, task, _ in self._terms}
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
