"""What a re-rank may do after fusion, what it is given, and what it gives back.

The rules come out of a plan; they are protocols here because a plan is the experiments' document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 0  # the id of an item that has no known category: no two of them are alike

Ids = NDArray[np.integer]  # (N,) of a category
Floats = NDArray[np.float64]


class Decay(Protocol):
    """The k-th item of a category, by score, keeps floor + (1 - floor)·factor^(k - 1) of it."""

    @property
    def by(self) -> str: ...
    @property
    def factor(self) -> float: ...
    @property
    def floor(self) -> float: ...


class Cap(Protocol):
    """At most `most` items of a category among any `window` places in a row."""

    @property
    def by(self) -> str: ...
    @property
    def most(self) -> int: ...
    @property
    def window(self) -> int: ...


class Fresh(Protocol):
    """At least `least` of the `first` places go to new items: their attribute `by` is at most
    `below`.
    """

    @property
    def by(self) -> str: ...
    @property
    def below(self) -> float: ...
    @property
    def least(self) -> int: ...
    @property
    def first(self) -> int: ...


class Mmr(Protocol):
    """Maximal marginal relevance for the `first` places: the next item is the one with the largest
    (1 - weight)·relevance - weight·(likeness to the most alike item before it).

    Relevance: the score, from 0 (least) to 1 (largest). Likeness: 1 within a category; between
    attributes, taken as a vector, the cosine.
    """

    @property
    def by(self) -> str | Sequence[str]: ...
    @property
    def weight(self) -> float: ...
    @property
    def first(self) -> int: ...


class Rules(Protocol):
    """All of them; applied in the order decay, mmr, then caps, fresh and pins together, which hold
    for the first `places`.
    """

    @property
    def decay(self) -> Sequence[Decay]: ...
    @property
    def mmr(self) -> Mmr | None: ...
    @property
    def caps(self) -> Sequence[Cap]: ...
    @property
    def fresh(self) -> Fresh | None: ...
    @property
    def places(self) -> int: ...
    @property
    def pins(self) -> Mapping[str, int]: ...  # item id -> place, 1 is best


@dataclass(frozen=True)
class Given:
    """N candidates in input order. `order`: input positions, best first, of which the first
    `valid` have scores; the others stay where they are.
    """

    ids: Sequence[str]
    order: NDArray[np.intp]
    valid: int
    scores: Floats
    categories: Mapping[str, Ids]
    attributes: Mapping[str, Floats]


@dataclass(frozen=True)
class Reranked:
    """The new order, and how often a rule could not be kept: "caps/0" -> places in excess, "fresh"
    -> new items lacking, "pins" -> items not where they were pinned. `moved`: how many items each
    rule put elsewhere: "decay", "mmr", "slots" (caps, fresh and pins together).

    `notes`: input position -> what moved the item, where somebody asks.
    """

    order: NDArray[np.intp]
    unmet: Mapping[str, int]
    notes: Mapping[int, list[str]] = field(default_factory=dict)
    moved: Mapping[str, int] = field(default_factory=dict)
