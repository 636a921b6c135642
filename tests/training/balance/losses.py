"""Two or three tasks whose losses are chosen by the test."""

import torch
from torch import Tensor, nn

from training.config.task import Task
from training.objective import Objective

TASKS = (
    Task(name="ctr", label="click", weight=2.0),
    Task(name="like", label="like"),
    Task(name="vcr", label="vcr", kind="regression"),
)


def objective(tasks=TASKS, **more) -> Objective:
    return Objective(tasks, [task.name for task in tasks], **more)


class Net(nn.Module):
    """A trunk all tasks share, and a scale of each task's own: loss_k = own_k * (direction_k .
    shared).
    """

    def __init__(self, directions) -> None:
        super().__init__()
        self.directions = torch.tensor(directions, dtype=torch.float64)
        width = self.directions.shape[1]
        self.trunk = nn.Linear(width, 1, bias=False, dtype=torch.float64)
        self.embedding = nn.Embedding(1, 1, dtype=torch.float64)
        self.own = nn.Parameter(torch.ones(len(directions), dtype=torch.float64))
        nn.init.ones_(self.trunk.weight)

    def losses(self, names) -> dict[str, Tensor]:
        values = self.own * (self.directions @ self.trunk.weight[0])
        return dict(zip(names, values, strict=True))
