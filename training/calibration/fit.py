"""Calibrate the heads of a run, and say what it did to predicted over observed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from service.contract.heads import Calibration
from training.calibration.isotonic import fit_isotonic
from training.calibration.platt import fit_platt
from training.config.task import Task
from training.metrics import predicted_over_observed
from training.rankers.columns import columns_of
from training.readouts.readouts import Readouts

_FITS: dict[str, Callable[[Tensor, Tensor], nn.Module | None]] = {
    "platt": fit_platt,
    "isotonic": fit_isotonic,
}


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A head's calibration; `module` is None where the rows did not allow one."""

    module: nn.Module | None
    record: Calibration


def fit_calibrations(
    tasks: Sequence[Task], names: Sequence[str], logits: Tensor, labels: Tensor, spaces: Tensor
) -> dict[str, Calibrated]:
    """Fit the tasks that ask for it, each on the rows of its own sample space.

    The rows must be ones that the weights did not learn from: a network is surer of what it has
    seen than of what it will see. So with a refit they are the searched ranker's validation logits,
    and the refitted ranker, of the same recipe and one that has seen the validation days, takes
    over what was fitted to them.

    Predicted over observed after calibration is measured on rows that the fit did not see: each
    half of the rows (every other one) with the fit on the other half. What is kept is fitted on
    all.

    Args:
        names: the task of every logit column.
        logits, labels, spaces: (N, L), (N, K), (N, K) of the validation rows.
    """
    found = {}
    for at, task in enumerate(tasks):
        if task.calibrate != "none":
            inside = spaces[:, at]
            logit = columns_of(logits, names, task.name)[inside]
            found[task.name] = _calibrated(task.calibrate, logit, labels[inside, at])
    return found


def install(readouts: Readouts, calibrations: Mapping[str, Calibrated]) -> None:
    """Let the heads be read through their calibrations."""
    for name, calibrated in calibrations.items():
        readouts[name].calibration = calibrated.module


def _calibrated(method: Literal["platt", "isotonic"], logit: Tensor, label: Tensor) -> Calibrated:
    before = _ratio(torch.sigmoid(logit), label)
    module = _fit(method, logit, label)
    if module is None:
        return Calibrated(
            None, Calibration(method="none", rows=len(label), before=before, after=before)
        )
    after = torch.sigmoid(logit)
    halves = torch.arange(len(logit)) % 2 == 0
    for held_out in (halves, ~halves):
        other = _fit(method, logit[~held_out], label[~held_out])
        if other is not None:
            after[held_out] = other(logit[held_out])
    record = Calibration(method=method, rows=len(label), before=before, after=_ratio(after, label))
    return Calibrated(module, record)


def _fit(method: str, logit: Tensor, label: Tensor) -> nn.Module | None:
    if not len(label) or label.min() == label.max():
        return None
    return _FITS[method](logit, label)


def _ratio(values: Tensor, label: Tensor) -> float | None:
    ratio = predicted_over_observed(label.double().numpy(), values.double().numpy())
    return ratio if np.isfinite(ratio) else None
