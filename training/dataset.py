"""A log as tensors in memory: encoded inputs, and per task a label and whether the row counts."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.contract.encode import Counts, encode_rows
from service.contract.features import FeatureSchema
from training.config.task import Task
from training.data.errors import DataError
from training.data.log import Log
from training.portions import Portion, shuffled
from training.team import ALONE, Team


@dataclass(frozen=True, eq=False)
class Dataset:
    """N rows. `inputs` by name (N, width); `labels` (N, K) and `spaces` (N, K) bool, K the run's
    tasks.

    A label is 0 where its task's space is false: nothing reads it there.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    spaces: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Dataset":
        """The rows at these positions."""
        return Dataset(
            {name: block[index] for name, block in self.inputs.items()},
            self.labels[index],
            self.spaces[index],
        )

    def to(self, device: torch.device) -> "Dataset":
        """The same rows in the memory of that device."""
        if device == self.labels.device:
            return self
        inputs = {name: block.to(device) for name, block in self.inputs.items()}
        return Dataset(inputs, self.labels.to(device), self.spaces.to(device))

    def thinned(self, rows: int) -> "Dataset":
        """At most so many rows, evenly spread over all."""
        if len(self) <= rows:
            return self
        return self.take(torch.arange(rows) * len(self) // rows)

    @classmethod
    def joined(cls, parts: Sequence["Dataset"]) -> "Dataset":
        """The rows of all parts; there is at least one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            {name: torch.cat([part.inputs[name] for part in parts]) for name in parts[0].inputs},
            torch.cat([part.labels for part in parts]),
            torch.cat([part.spaces for part in parts]),
        )

    def near(self, device: torch.device) -> "Dataset":
        """In the memory of a CUDA device that has room for all; else the minibatches travel."""
        size = sum(block.nbytes for block in self._blocks)
        if device.type != "cuda" or size > torch.cuda.mem_get_info(device)[0] // 2:
            return self
        return self.to(device)

    @property
    def digest(self) -> str:
        found = hashlib.sha256()
        for block in self._blocks:
            found.update(block.numpy().reshape(-1).view(np.uint8))
        return found.hexdigest()

    @property
    def _blocks(self) -> tuple[Tensor, ...]:
        return (*self.inputs.values(), self.labels, self.spaces)

    def minibatches(
        self, size: int, *, seed: int, epoch: int, start: int = 0
    ) -> Iterator["Dataset"]:
        """Minibatches from number `start`, in an order that only `seed` and `epoch` decide.

        The last one may be smaller.
        """
        portions = self.portions(size, ALONE, seed=seed, epoch=epoch, start=start)
        return (portion.mine for portion in portions)

    def portions(
        self, size: int, team: Team, *, seed: int, epoch: int, start: int = 0
    ) -> Iterator[Portion]:
        """The same, of which every process of a team takes its rows; all have all of them."""
        order = shuffled(len(self), seed, epoch).to(self.labels.device)
        for at in range(start * size, len(self), size):
            counts = team.counts(min(size, len(self) - at))
            begin = at + sum(counts[: team.rank])
            yield Portion(self.take(order[begin : begin + counts[team.rank]]), counts)

    def in_order(self, size: int) -> Iterator[dict[str, Tensor]]:
        """The inputs of all rows, as they come."""
        for at in range(0, len(self), size):
            yield {name: block[at : at + size] for name, block in self.inputs.items()}


def build_dataset(
    schema: FeatureSchema, tasks: Sequence[Task], log: Log, counts: Counts | None = None
) -> Dataset:
    """Encode a log for training.

    Raises:
        DataError: a task's label or sample space that the log lacks, or a label that no head can
            reach.
    """
    inputs = encode_rows(schema, log.columns, log.rows, counts)
    labels = np.zeros((log.rows, len(tasks)), np.float32)
    spaces = np.zeros((log.rows, len(tasks)), bool)
    for at, task in enumerate(tasks):
        label, spaces[:, at] = label_and_space(task, log)
        labels[:, at] = np.where(spaces[:, at], label, 0)
        _require_reachable(task, labels[:, at], log)
    return Dataset(
        {name: torch.from_numpy(block) for name, block in inputs.items()},
        torch.from_numpy(labels),
        torch.from_numpy(spaces),
    )


def label_and_space(task: Task, log: Log) -> tuple[np.ndarray, np.ndarray]:
    """A task's labels (N,), NaN where undefined, and the rows of its sample space where they are
    known.
    """
    for what, name, known in (("label", task.label, log.labels), ("space", task.space, log.spaces)):
        if name not in known:
            raise DataError(
                f"task {task.name}: the log has no {what} {name!r} (it has: {', '.join(known)})"
            )
    label = log.labels[task.label]
    return label, log.spaces[task.space] & ~np.isnan(label)


def _require_reachable(task: Task, label: NDArray[np.float32], log: Log) -> None:
    """A head is a sigmoid, or an amount: a label beyond trains it towards what it cannot say."""
    amount = task.watch is not None or (task.product is not None and task.loss_name == "none")
    beyond = (label < 0) | (label > (np.inf if amount else 1))
    if beyond.any():
        first = int(beyond.argmax())
        place = log.origin.place(task.label, int(log.row[first]))
        said = (
            "an amount is never below 0"
            if amount
            else "a head lies in 0 … 1: clip it, set at_least, or say how to `watch` it"
        )
        raise DataError(
            f"task {task.name}: label {task.label!r} goes from {label.min():g} to {label.max():g},"
            f" and {said} (first at {place})"
        )
