"""training/shards.py: blocks on disk, mapped, and never taken for whole before they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_dataset import SCHEMA, _log
from training.config.task import Task
from training.data.errors import DataError
from training.dataset import build_dataset
from training.shards import FILE, open_shards, write_shards

TASKS = (Task(name="ctr", label="click"),)


def test_pieces_come_back_as_one_mapped_dataset(tmp_path: Path) -> None:
    log = _log()
    pieces = [log.take(np.array([0, 1, 2])), log.take(np.array([3]))]
    write_shards(tmp_path / "s", SCHEMA, TASKS, pieces)
    found, whole = open_shards(tmp_path / "s"), build_dataset(SCHEMA, TASKS, log)
    assert found.schema == SCHEMA
    assert found.days == (20260101, 20260101)
    assert torch.equal(found.data.inputs["context_ids"], whole.inputs["context_ids"])
    assert torch.equal(found.data.labels, whole.labels)
    assert torch.equal(found.data.spaces, whole.spaces)
    mapped = found.data.inputs["context_ids"]
    mapped[0, 0] = 77  # in memory only
    assert open_shards(tmp_path / "s").data.inputs["context_ids"][0, 0] != 77


def test_shards_are_there_only_when_they_are_complete(tmp_path: Path) -> None:
    def broken() -> object:
        yield _log()
        raise KeyboardInterrupt

    write_shards(tmp_path, SCHEMA, TASKS, [_log()])
    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, SCHEMA, TASKS, broken())
    assert not (tmp_path / FILE).exists()
    write_shards(tmp_path, SCHEMA, TASKS, [_log()])
    assert len(open_shards(tmp_path).data) == 4


def test_a_label_of_one_value_leaves_no_shards(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'click' is 1 in all 2 of the training rows"):
        write_shards(tmp_path, SCHEMA, TASKS, [_log().take(np.array([0, 2]))])
    assert not (tmp_path / FILE).exists()
