"""Metrics by head and sample space, their names, and the criterion made of them."""

from dataclasses import replace

import numpy as np
import pytest

from training.config.task import Task
from training.data.errors import DataError
from training.data.log import Log
from training.scores import (
    attribute_slices,
    criterion,
    head_metrics,
    log_slices,
    metrics_grid,
    own_spaces,
)

CTR = Task(name="ctr", label="click")
CVR = Task(name="cvr", label="buy", space="click")
VCR = Task(name="vcr", label="vcr", space="click", kind="regression")


def _log():
    click = np.array([1, 0, 1, 0, 1, 1], np.float32)
    return Log(
        row=np.arange(6),
        day=np.full(6, 20260101, np.int32),
        user_id=np.array(list("aabbcc"), object),
        item_id=np.array(["x"] * 6, object),
        columns={"context": {"tab": np.array(["1", "1", "1", "0", "0", None], object)}},
        labels={
            "click": click,
            "buy": np.array([1, 0, 0, 0, 1, 0], np.float32),
            "vcr": np.array([0.5, np.nan, 1, np.nan, 0, 0.25], np.float32),
        },
        spaces={"impression": np.ones(6, bool), "click": click > 0},
    )


def test_a_head_is_measured_on_its_own_space_and_where_its_label_varies_elsewhere():
    log = _log()
    metrics = head_metrics(
        [CTR, CVR, VCR], dict.fromkeys(("ctr", "cvr", "vcr"), log.labels["click"]), log
    )
    assert metrics["ctr.auc[impression]"] == 1.0
    assert metrics["ctr.gauc[impression]"] == 1.0
    assert "ctr.log_loss[click]" not in metrics, "inside clicks every label is 1"
    assert metrics["cvr.ratio[click]"] == 2.0
    assert metrics["cvr.auc[click]"] == 0.5
    assert metrics["cvr.auc[impression]"] == 0.75
    assert metrics["vcr.mse[click]"] == pytest.approx((0.25 + 0 + 1 + 0.5625) / 4)
    assert "vcr.mse[impression]" not in metrics, "the same rows as click"


def test_slices_cut_the_heads_own_space_by_raw_values():
    log = _log()
    slices = log_slices(log, ["tab=1"])
    assert slices["tab=1"].tolist() == [True, True, True, False, False, False]
    metrics = head_metrics([CTR], {"ctr": np.full(6, 0.5)}, log, slices)
    assert metrics["ctr.ratio[impression, tab=1]"] == pytest.approx(1.5 / 2)
    with pytest.raises(DataError, match="slice 'tap=1': the log has no 'tap'"):
        log_slices(log, ["tap=1"])


def test_the_criterion_turns_errors_around():
    metrics = {"ctr.auc[impression]": 0.75, "vcr.mse[click]": 0.25, "ctr.log_loss[impression]": 0.5}
    assert criterion(["ctr.auc[impression]", "vcr.mse[click]"], metrics) == 0.25
    assert criterion(["ctr.log_loss[impression]"], metrics) == -0.5
    with pytest.raises(
        DataError, match=r"criterion 'ctr.auc\[play\]' was not measured \(known: ctr"
    ):
        criterion(["ctr.auc[play]"], metrics)


def test_the_grid_has_a_row_a_head_and_space_and_a_column_a_metric():
    columns, rows = metrics_grid(
        {"ctr.auc[impression, tab=1]": 0.7, "vcr.mse[play]": 0.1, "loss": 1}
    )
    assert columns == ["auc", "mse"]
    assert rows == {("ctr", "impression, tab=1"): {"auc": 0.7}, ("vcr", "play"): {"mse": 0.1}}


def test_a_head_owns_the_space_it_is_measured_on_first():
    names = ["cvr.auc[click]", "cvr.auc[impression]", "n", "ctr.auc[impression]"]
    assert own_spaces(names) == {"cvr": "click", "ctr": "impression"}


def test_groups_of_an_attribute_hold_each_known_row_once():
    log = replace(_log(), columns={"item": {"videolen_s": np.array([1, 2, 3, 4, 9, np.nan])}})
    found = attribute_slices(log, "videolen_s", groups=2)
    assert list(found) == ["videolen_s 1 to 3", "videolen_s 3 to 9"]
    assert np.array(list(found.values())).sum(0).tolist() == [1, 1, 1, 1, 1, 0]
    assert found["videolen_s 1 to 3"].tolist() == [True, True, False, False, False, False]
    assert attribute_slices(log, "price") == {}
    same = replace(log, columns={"item": {"videolen_s": np.full(6, 2.0)}})
    assert attribute_slices(same, "videolen_s") == {}
