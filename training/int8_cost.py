"""What rounding costs a ranker's heads, and whether that is more than it may."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import Variant
from service.scoring.session import Heads
from training.metrics import auc

TOLERANCE = 1e-3  # of a golden head: on another processor a number may round to the next step
_TOP = 10


@dataclass(frozen=True)
class Limits:
    """What a variant may cost, for the head where it costs most.

    `calibration`: how far the mean of a head may move, as a share of it. A formula multiplies
    heads and compares them with constants, so their size counts and not their order alone; 1% is
    less than what a head is off from what happened a day later, and more than rounding moves it.
    """

    auc_loss: float = 0.0005
    top10_overlap: float = 0.98
    calibration: float = 0.01


def refused_unmeasured(reason: str, limits: Limits) -> Variant:
    """Of graphs that were never run."""
    return Variant(
        refused=reason,
        auc_loss={},
        auc_loss_limit=limits.auc_loss,
        top10_overlap={},
        top10_overlap_limit=limits.top10_overlap,
        calibration={},
        calibration_limit=limits.calibration,
        max_abs_difference={},
        rows=0,
        lists=0,
    )


def overlap(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    best = [np.argsort(-values, kind="stable")[:_TOP] for values in (before, after)]
    return len(np.intersect1d(*best)) / len(best[0])


def _moved(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """What is added to the mean, as a share of the mean size."""
    values = before.astype(np.float64)
    return float((after - values).mean() / max(np.abs(values).mean(), 1e-12))


@dataclass(frozen=True)
class Measured:
    """Heads of all rows on both graphs, and the overlaps of lists."""

    before: Heads
    after: Heads
    lists: list[dict[str, float]]

    def variant(self, labels: Mapping[str, NDArray[np.float32]], limits: Limits) -> Variant:
        loss = {head: self._auc_loss(head, label) for head, label in labels.items()}
        loss = {head: value for head, value in loss.items() if np.isfinite(value)}
        overlap = {h: float(np.mean([one[h] for one in self.lists])) for h in self.before}
        refused = [
            f"AUC of {head} falls by {value:.5f}, more than {limits.auc_loss:g}"
            for head, value in loss.items()
            if not value <= limits.auc_loss
        ]
        refused += [
            f"the ten best by {head} overlap by {value:.3f}, less than {limits.top10_overlap:g}"
            for head, value in overlap.items()
            if not value >= limits.top10_overlap
        ]
        moved = {head: _moved(values, self.after[head]) for head, values in self.before.items()}
        refused += [
            f"the mean of {head} moves by {value:.2%}, more than {limits.calibration:.2%}"
            for head, value in moved.items()
            if not abs(value) <= limits.calibration
        ]
        return Variant(
            refused="; ".join(refused),
            tolerance=TOLERANCE,
            auc_loss=loss,
            auc_loss_limit=limits.auc_loss,
            top10_overlap=overlap,
            top10_overlap_limit=limits.top10_overlap,
            calibration=moved,
            calibration_limit=limits.calibration,
            max_abs_difference={
                head: float(np.abs(values - self.after[head]).max())
                for head, values in self.before.items()
            },
            rows=len(next(iter(self.before.values()))),
            lists=len(self.lists),
        )

    def _auc_loss(self, head: str, label: NDArray[np.float32]) -> float:
        known = ~np.isnan(label)
        truth = label[known].astype(np.float64)
        before, after = (h[head][known].astype(np.float64) for h in (self.before, self.after))
        return auc(truth, before) - auc(truth, after)
