"""training/report/tensorboard.py: what TensorBoard itself reads of a run that was killed."""

from contextlib import closing
from pathlib import Path

import pytest

from training.report.tensorboard import TensorBoardWatcher

events = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
)


def _train(directory: Path, epoch: int, steps: range, loss: float) -> None:
    with closing(TensorBoardWatcher(directory)) as watcher:
        for step in steps:
            watcher.step(epoch, step, 4, 10, {"ctr": loss + step})
        if steps.stop == 5:
            watcher.epoch(epoch, {"ctr.auc[impression]": loss})


def _shown(directory: Path, tag: str) -> list[tuple[int, float]]:
    found = events.EventAccumulator(str(directory))
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(tag)]


def test_a_run_that_resumes_shows_every_minibatch_once(tmp_path: Path) -> None:
    _train(tmp_path, 1, range(1, 5), 0)
    _train(tmp_path, 2, range(1, 4), 0)  # killed here; its checkpoint is of step 1
    _train(tmp_path, 2, range(2, 5), 100)
    assert _shown(tmp_path, "loss/ctr") == [
        (1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 102), (7, 103), (8, 104),
    ]  # fmt: skip
    assert _shown(tmp_path, "valid/ctr.auc/impression") == [(4, 0), (8, 100)]


def test_a_run_that_begins_anew_shows_nothing_of_the_one_before(tmp_path: Path) -> None:
    _train(tmp_path, 1, range(1, 5), 0)
    _train(tmp_path, 1, range(1, 3), 10)
    assert _shown(tmp_path, "loss/ctr") == [(1, 11), (2, 12)]
