"""One request's rows in pieces, so that threads with nothing else to do help with them.

At half of capacity most requests find a thread idle: halved, their inference takes half as long.
A request that finds none runs whole, since pieces cost about 4 % more in all.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.scoring.session import Heads, filled_up

LEAST_ROWS = 128  # of a piece: weights are read once for each of them


class Crew(Protocol):
    """The threads that score."""

    @property
    def idle(self) -> int:
        """Threads that have nothing to do now."""

    def share(self, tasks: Sequence[Callable[[], None]]) -> float:
        """Do all of `tasks`, with idle threads' help; seconds that they took together."""


def in_pieces(
    rows: int, run: Callable[[slice], Heads], crew: Crew | None = None
) -> tuple[Heads, float]:
    """Heads of `rows` rows, and the seconds by which threads of `crew` worked longer than it took.

    `run` gives the heads of some rows; the last piece's slice is open at its end. Whatever it
    raises for one of the pieces is raised.
    """
    count = 1 if crew is None else min(crew.idle + 1, rows // LEAST_ROWS)
    if crew is None or count < 2:
        return run(slice(None)), 0.0
    size = filled_up(-(-rows // count))
    ends = [*range(size, rows, size), None]
    pieces = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    found: list[Heads] = [{} for _ in pieces]

    def task(at: int) -> Callable[[], None]:
        def work() -> None:
            found[at] = run(pieces[at])

        return work

    began = time.perf_counter()
    worked_s = crew.share([task(at) for at in range(len(pieces))])
    helped_s = worked_s - (time.perf_counter() - began)
    return {name: np.concatenate([heads[name] for heads in found]) for name in found[0]}, helped_s


def rows_of(blocks: Mapping[str, NDArray[Any]], piece: slice) -> dict[str, NDArray[Any]]:
    """The rows of a piece; a block of one row is for all rows."""
    return {name: block if len(block) == 1 else block[piece] for name, block in blocks.items()}
