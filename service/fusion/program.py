"""A compiled formula as a flat list of NumPy steps, and the scores of running it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from service.fusion.functions import Value, per_candidate

MEMBERS = 0  # the slot that holds the candidates set functions look at
ROUNDS = 8  # a formula such as log(minmax(x)) would drop one candidate a round, until none is left

Columns = Mapping[str, NDArray[np.floating] | Sequence[float]]


class MissingInput(LookupError):
    """A call that lacks a value which the formula uses: nothing is defaulted here."""

    def __init__(self, name: str, given: Mapping[str, object]) -> None:
        super().__init__(f"the formula uses {name!r}; given are: {', '.join(sorted(given))}")


@dataclass(frozen=True)
class Scores:
    """Fused scores in input order.

    Attributes:
        values: (N,) float64; NaN where invalid.
        valid: (N,) bool; False where the arithmetic has no answer.
    """

    values: NDArray[np.float64]
    valid: NDArray[np.bool_]


def order(scores: Scores) -> NDArray[np.intp]:
    """Input positions by descending score, ties by input order, then the invalid ones."""
    return (-scores.values).argsort(kind="stable")  # NaN comes last


@dataclass(frozen=True)
class Step:
    """slots[out] = call(*slots[inputs])."""

    out: int
    call: Callable[..., Value]
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """Steps over numbered slots, in an order in which every input is there before it is used.

    Attributes:
        constants: initial slots; None where an input or a step fills it.
        columns: (slot, name) of what is read per candidate.
        scalars: (slot, name) of what is read per request.
        rank_in: the slot of the input position, if used.
        steps: all steps.
        score: the slot of the score, filled by the first `scored` steps; the rest is for explain.
        across: whether any step looks across the candidate set.
    """

    constants: tuple[float | None, ...]
    columns: tuple[tuple[int, str], ...]
    scalars: tuple[tuple[int, str], ...]
    rank_in: int | None
    steps: tuple[Step, ...]
    score: int
    scored: int
    across: bool

    def run(
        self, columns: Columns, scalars: Mapping[str, float], rows: int, *, all_steps: bool = False
    ) -> tuple[list[Value], Scores]:
        """(every slot, scores). Set functions see the candidates that end up valid.

        A candidate that turns out invalid leaves the set, and what is across the set is computed
        again, until nobody else leaves: one round when no function is across it, `ROUNDS` at most;
        who turns out invalid in the last of them has still been seen.
        """
        slots = self._inputs(columns, scalars, rows)
        steps = self.steps if all_steps else self.steps[: self.scored]
        with np.errstate(all="ignore"):
            if not self.across:
                values, valid = self._score(slots, steps, rows)
            else:
                members = np.ones(rows, dtype=np.bool_)
                for _ in range(ROUNDS):
                    slots[MEMBERS] = cast(Value, members)  # the one slot that holds no numbers
                    values, valid = self._score(slots, steps, rows)
                    valid &= members
                    if np.array_equal(valid, members):
                        break
                    members = valid
        return slots, Scores(np.where(valid, values, np.nan), valid)

    def _score(
        self, slots: list[Value], steps: Sequence[Step], rows: int
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Scores, and which are finite; fills the slots."""
        for step in steps:
            slots[step.out] = step.call(*[slots[i] for i in step.inputs])
        values = per_candidate(slots[self.score], rows)
        return values, np.isfinite(values)

    def _inputs(self, columns: Columns, scalars: Mapping[str, float], rows: int) -> list[Value]:
        slots: list[Value] = list(self.constants)  # type: ignore[arg-type]  # filled below
        for slot, name in self.columns:
            if name not in columns:
                raise MissingInput(name, columns)
            column = np.asarray(columns[name], dtype=np.float64)
            if column.shape != (rows,):
                raise ValueError(f"column {name!r} has shape {column.shape}; expected ({rows},)")
            slots[slot] = column
        for slot, name in self.scalars:
            if name not in scalars:
                raise MissingInput(name, scalars)
            slots[slot] = float(scalars[name])
        if self.rank_in is not None:
            slots[self.rank_in] = np.arange(1.0, rows + 1)
        return slots
