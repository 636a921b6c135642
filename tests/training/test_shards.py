"""training/shards.py: blocks on disk, mapped, and never taken for whole before they are."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_dataset import SCHEMA, _log
from training.config.task import Task
from training.data.errors import DataError
from training.data.log import Log
from training.dataset import build_dataset
from training.shards import FILE, complete_shards, open_shards, stripe_place, write_stripe

TASKS = (Task(name="ctr", label="click"),)


def write_shards(directory: Path, *stripes: Iterable[Log]) -> None:
    written = [
        write_stripe(stripe_place(directory, number), SCHEMA, TASKS, pieces)
        for number, pieces in enumerate(stripes)
    ]
    complete_shards(directory, SCHEMA, TASKS, written)


def test_pieces_come_back_as_one_mapped_dataset(tmp_path: Path) -> None:
    log = _log()
    pieces = [log.take(np.array([0, 1, 2])), log.take(np.array([3]))]
    write_shards(tmp_path / "s", pieces)
    found, whole = open_shards(tmp_path / "s"), build_dataset(SCHEMA, TASKS, log)
    assert found.schema == SCHEMA
    assert found.days == (20260101, 20260101)
    mapped = found.data.thinned(4)
    assert torch.equal(mapped.inputs["context_ids"], whole.inputs["context_ids"])
    assert torch.equal(mapped.labels, whole.labels)
    assert torch.equal(mapped.spaces, whole.spaces)
    mapped.inputs["context_ids"][0, 0] = 77  # in memory only
    assert open_shards(tmp_path / "s").data.thinned(4).inputs["context_ids"][0, 0] != 77


def test_the_digest_is_of_the_rows_however_they_came(tmp_path: Path) -> None:
    log = _log()
    write_shards(tmp_path / "a", [log])
    write_shards(tmp_path / "b", [log.take(np.array([0, 1, 2])), log.take(np.array([3]))])
    write_shards(tmp_path / "c", [log.take(np.array([1, 0, 2, 3]))])
    a, b, c = (open_shards(tmp_path / name).data.digest for name in "abc")
    assert a == b != c


def test_shards_are_there_only_when_they_are_complete(tmp_path: Path) -> None:
    def broken() -> object:
        yield _log()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, broken())
    assert not (tmp_path / FILE).exists()
    write_shards(tmp_path, [_log()])
    assert len(open_shards(tmp_path).data) == 4


def test_a_label_of_one_value_leaves_no_shards(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'click' is 1 in all 2 of the training rows"):
        write_shards(tmp_path, [_log().take(np.array([0, 2]))])
    assert not (tmp_path / FILE).exists()
