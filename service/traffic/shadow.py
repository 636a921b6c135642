"""How another ranking of the same candidates differs from the one that was served."""

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.fusion import Scores, order
from service.traffic.kendall import tau_b

DEPTHS = (1, 10, 50)
_TAU_OF = 50  # the best candidates as served: what is below them nobody is shown


@dataclass(frozen=True)
class Difference:
    """Of N candidates. `overlaps`: depth -> share of the best so many that both rankings have.

    `tau`: Kendall's tau-b of the served best 50; NaN without an order to compare.
    """

    candidates: int
    invalid: int
    overlaps: dict[int, float]
    tau: float


def difference(served: Scores, shadow: Scores) -> Difference:
    """Compare two scorings of the same candidates; an invalid one is last, as in an answer."""
    first, second = order(served), order(shadow)
    rows = len(first)
    best = first[:_TAU_OF]
    tau = tau_b(_filled(served)[None, best], _filled(shadow)[None, best])
    return Difference(
        candidates=rows,
        invalid=int(rows - np.count_nonzero(shadow.valid)),
        overlaps={depth: _overlap(first, second, min(depth, rows)) for depth in DEPTHS},
        tau=float(tau[0]),
    )


def _overlap(first: NDArray[np.intp], second: NDArray[np.intp], depth: int) -> float:
    if depth == 0:
        return 1.0
    return len(set(first[:depth].tolist()) & set(second[:depth].tolist())) / depth


def _filled(scores: Scores) -> NDArray[np.float64]:
    return np.where(scores.valid, scores.values, -np.inf)


@dataclass
class Tally:
    """What a shadow did since it began. `results`: what became of its requests, by name."""

    since_s: float = field(default_factory=time.time)
    results: Counter[str] = field(default_factory=Counter)
    candidates: int = 0
    invalid: int = 0
    tau: float = 0.0  # sums
    taus: int = 0
    overlaps: dict[int, float] = field(default_factory=lambda: dict.fromkeys(DEPTHS, 0.0))

    def add(self, found: Difference) -> None:
        self.results["compared"] += 1
        self.candidates += found.candidates
        self.invalid += found.invalid
        for depth, overlap in found.overlaps.items():
            self.overlaps[depth] += overlap
        if not np.isnan(found.tau):
            self.tau += found.tau
            self.taus += 1

    def means(self) -> dict[str, float | None]:
        """Means over the compared requests; None without any."""
        compared = self.results["compared"]
        found: dict[str, float | None] = {
            f"overlap@{depth}": total / compared if compared else None
            for depth, total in self.overlaps.items()
        }
        found["tau"] = self.tau / self.taus if self.taus else None
        found["invalid_share"] = self.invalid / self.candidates if self.candidates else None
        return found
