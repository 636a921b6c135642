"""What a process of a team takes of the training rows: its portion of every minibatch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from training.team import Team

if TYPE_CHECKING:
    from training.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Portion:
    """This process's rows of a minibatch, and how many every process has of it, by rank."""

    mine: "Dataset"
    counts: Sequence[int]


class TrainingRows(Protocol):
    """Rows to learn from, in memory or on disk."""

    def __len__(self) -> int:
        """All rows, of all processes."""
        ...

    def portions(
        self, size: int, team: Team, *, seed: int, epoch: int, start: int = 0
    ) -> Iterator[Portion]:
        """Of minibatches of `size` rows (the last may be smaller), from number `start`, in an order
        that only `seed` and `epoch` decide.
        """
        ...

    def thinned(self, rows: int) -> "Dataset":
        """At most so many rows, evenly spread over all; this process reads those of others, too."""
        ...

    def near(self, device: torch.device) -> "TrainingRows":
        """The same rows in the memory of a CUDA device that has room for them, else as they are."""
        ...

    @property
    def digest(self) -> str:
        """Of all rows; the same in every process."""
        ...


def shuffled(rows: int, seed: int, epoch: int, stripe: int = 0) -> Tensor:
    """An order of so many rows."""
    # numpy takes (seed, epoch, 0) for (seed, epoch).
    return torch.from_numpy(np.random.default_rng((seed, epoch, stripe)).permutation(rows))
