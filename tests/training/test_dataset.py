"""A log as tensors: labels and spaces by task, minibatches of seed and epoch alone."""

import numpy as np
import pytest
import torch

from service.contract.features import Categorical, FeatureSchema
from training.config.task import Task
from training.data.errors import DataError
from training.data.log import Log
from training.dataset import Dataset, build_dataset

SCHEMA = FeatureSchema(features=(Categorical(name="tab", side="context", vocabulary=("0", "1")),))


def _log():
    click = np.array([1, 0, 1, 0], np.float32)
    return Log(
        row=np.arange(4),
        day=np.full(4, 20260101, np.int32),
        user_id=np.array(["a"] * 4, object),
        item_id=np.array(["x"] * 4, object),
        columns={"context": {"tab": np.array(["0", "1", None, "9"], object)}},
        labels={
            "click": click,
            "vcr": np.array([0.5, np.nan, np.nan, 0.2], np.float32),
            "watch_s": np.array([17, 0, np.nan, 3], np.float32),
        },
        spaces={"impression": np.ones(4, bool), "click": click > 0},
    )


def test_a_tasks_rows_are_its_space_where_its_label_is_known():
    tasks = (
        Task(name="ctr", label="click"),
        Task(name="vcr", label="vcr", kind="regression"),
        Task(name="play", label="vcr", space="click", kind="regression", beside="vcr"),
    )
    data = build_dataset(SCHEMA, tasks, _log())
    assert data.inputs["context_ids"].tolist() == [[1], [2], [0], [0]]
    assert data.spaces.T.tolist() == [
        [True] * 4,
        [True, False, False, True],
        [True, False, False, False],
    ]
    assert torch.isfinite(data.labels).all()
    assert data.labels[:, 1].tolist() == [0.5, 0, 0, pytest.approx(0.2)]


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (
            Task(name="ctr", label="clik"),
            "task ctr: the log has no label 'clik' (it has: click, vcr, watch_s)",
        ),
        (
            Task(name="ctr", label="click", space="play"),
            "task ctr: the log has no space 'play' (it has: impression, click)",
        ),
        (
            Task(name="watch", label="watch_s", kind="regression", meaning="seconds", unit="s"),
            "task watch: label 'watch_s' goes from 0 to 17, and a head lies in 0 … 1:"
            " clip it, set at_least, or say how to `watch` it (first at column 'watch_s', row 0)",
        ),
    ],
)
def test_a_task_the_log_cannot_feed_is_refused(task, sentence):
    with pytest.raises(DataError) as refused:
        build_dataset(SCHEMA, (task,), _log())
    assert str(refused.value) == sentence


def _numbered(rows):
    numbers = torch.arange(rows).unsqueeze(1)
    return Dataset({"context_ids": numbers}, numbers.float(), numbers >= 0)


def _order(batches):
    return [batch.inputs["context_ids"].flatten().tolist() for batch in batches]


def test_an_epoch_visits_every_row_once_in_an_order_of_its_own():
    data = _numbered(10)
    first = _order(data.minibatches(4, seed=1, epoch=0))
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(row for batch in first for row in batch) == list(range(10))
    assert first == _order(data.minibatches(4, seed=1, epoch=0))
    assert first != _order(data.minibatches(4, seed=1, epoch=1))
    assert first != _order(data.minibatches(4, seed=2, epoch=0))


def test_an_epoch_continues_at_any_minibatch():
    data = _numbered(10)
    whole = _order(data.minibatches(4, seed=1, epoch=3))
    assert _order(data.minibatches(4, seed=1, epoch=3, start=1)) == whole[1:]
    assert _order(data.minibatches(4, seed=1, epoch=3, start=3)) == []
