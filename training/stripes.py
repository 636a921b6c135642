"""Training rows dealt to stripes, each read by one process; every minibatch has rows of all.

The minibatches depend on the stripes, not on the number of processes that share them: one process
takes from every stripe what several take from theirs. With one stripe they are those of the same
rows in memory.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch

from training.dataset import Dataset
from training.portions import Portion, shuffled
from training.team import Team


class Stripes:
    """TrainingRows of which a process touches its own stripes only, except to thin all of them.

    Args:
        lengths: rows of every stripe.
        open_stripe: number of a stripe -> its rows, mapped.
        digest: of all rows.
    """

    def __init__(
        self, lengths: Sequence[int], open_stripe: Callable[[int], Dataset], digest: str
    ) -> None:
        self.lengths, self._open, self._digest = tuple(lengths), open_stripe, digest

    def __len__(self) -> int:
        return sum(self.lengths)

    @property
    def digest(self) -> str:
        return self._digest

    def near(self, device: torch.device) -> "Stripes":
        return self

    def thinned(self, rows: int) -> Dataset:
        ends = _cuts(self.lengths, min(rows, len(self)), len(self))
        return Dataset.joined(
            [self._open(stripe).thinned(share) for stripe, share in enumerate(ends)]
        )

    def portions(
        self, size: int, team: Team, *, seed: int, epoch: int, start: int = 0
    ) -> Iterator[Portion]:
        stripes = range(len(self.lengths))
        mine = {stripe: self._open(stripe) for stripe in team.of_mine(len(stripes))}
        orders = {at: shuffled(self.lengths[at], seed, epoch, at) for at in mine}
        steps = range(start, math.ceil(len(self) / size) + 1)
        ends = (_cuts(self.lengths, min(step * size, len(self)), len(self)) for step in steps)
        for first, last in pairwise(ends):
            counts = [0] * team.size
            for stripe in stripes:
                counts[team.holder(stripe, len(stripes))] += last[stripe] - first[stripe]
            taken = [
                rows.take(orders[stripe][first[stripe] : last[stripe]])
                for stripe, rows in mine.items()
            ]
            yield Portion(Dataset.joined(taken), counts)


def _cuts(lengths: Sequence[int], rows: int, of: int) -> list[int]:
    """How many of the first `rows` of all rows every stripe has, in proportion and rounded down."""
    return [length * rows // of for length in lengths]
