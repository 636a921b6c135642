"""Evaluation: every row of the days, and no outcome of a day in that day's inputs."""

import json

import numpy as np
import polars as pl
import pytest

from service.contract.errors import UnknownModel
from service.contract.repository import Repository
from tests.training.tiny import FIRST, LAST, quiet
from training.data.days import Days
from training.data.errors import DataError
from training.evaluate import (
    evaluate,
    seen_in_training,
    show_metrics,
    write_json,
    write_predictions,
)

OUTCOMES = ("click", "buy", "long_view", "completion", "like")


@pytest.fixture(scope="module")
def last_day(tiny, tiny_log):
    return evaluate(Repository(tiny[0]), "tiny", tiny_log, Days(LAST, LAST), quiet())


def test_the_validation_days_repeat_the_metrics_of_the_run(tiny, tiny_log):
    found = evaluate(Repository(tiny[0]), "tiny/1", tiny_log, Days(20260105, LAST), quiet())
    for name, value in tiny[1].metrics.items():
        assert found.metrics[name] == pytest.approx(value, abs=1e-4), name


def test_every_row_of_the_days_is_scored_and_numbered_as_in_the_log(last_day, tiny_log, tmp_path):
    write_predictions(last_day, tmp_path / "out" / "p.parquet")
    frame = pl.read_parquet(tmp_path / "out" / "p.parquet")
    assert frame.columns[:8] == ["row", "ctr", "cvr", "ctcvr", "vcr", "user_id", "item_id", "day"]
    assert [name for name in frame.columns if name.startswith("label.")] == [
        f"label.{name}" for name in last_day.log.labels
    ]
    assert frame["label.click"].to_list() == last_day.log.labels["click"].tolist()
    assert frame["item.videolen_s"].dtype == pl.Float32
    assert "item.tags" not in frame.columns, "only numbers"
    assert frame["user_id"].to_list() == last_day.log.user_id.tolist()
    assert frame["row"].to_list() == list(range(1250, 1500))
    assert len(pl.read_csv(tiny_log / "log.csv")) == 1500
    assert frame["ctcvr"].dtype == pl.Float32
    assert (frame["ctcvr"] == frame["ctr"] * frame["cvr"]).all()


def test_other_outcomes_on_the_last_day_change_none_of_its_predictions(
    tiny, tiny_log, last_day, tmp_path
):
    for name in ("users.csv", "items.csv"):
        (tmp_path / name).write_bytes((tiny_log / name).read_bytes())
    log = pl.read_csv(tiny_log / "log.csv")
    last = np.arange(len(log)) >= 1250
    random = np.random.default_rng(0)
    changed = {
        name: np.where(last, random.permutation(1 - np.nan_to_num(log[name].to_numpy())), log[name])
        for name in OUTCOMES
    }
    columns = [pl.Series(name, values).fill_nan(None) for name, values in changed.items()]
    log.with_columns(columns).write_csv(tmp_path / "log.csv")
    found = evaluate(Repository(tiny[0]), "tiny", tmp_path, Days(LAST, LAST), quiet())
    assert found.metrics != last_day.metrics, "the outcomes did change"
    for head, values in last_day.predictions.items():
        assert np.array_equal(found.predictions[head], values), head


def test_days_the_package_learned_from_are_flagged(last_day):
    assert seen_in_training(last_day, Days(LAST, LAST)) is None
    warning = seen_in_training(last_day, Days(20260104, LAST))
    assert warning is not None
    assert warning.startswith("tiny/1 learned from 20260101:20260104: these figures flatter it")


def test_an_earlier_day_does_reach_later_inputs(tiny, tiny_log, last_day, tmp_path):
    for name in ("users.csv", "items.csv"):
        (tmp_path / name).write_bytes((tiny_log / name).read_bytes())
    log = pl.read_csv(tiny_log / "log.csv")
    before = pl.int_range(pl.len()) < 1250
    flipped = pl.when(before).then(1 - pl.col("click")).otherwise(pl.col("click")).alias("click")
    log.with_columns(flipped).write_csv(tmp_path / "log.csv")
    found = evaluate(Repository(tiny[0]), "tiny", tmp_path, Days(LAST, LAST), quiet())
    assert not np.array_equal(found.predictions["ctr"], last_day.predictions["ctr"])


def test_cold_rows_and_slices_are_measured_apart(tiny, tiny_log):
    found = evaluate(Repository(tiny[0]), "tiny", tiny_log, Days(FIRST, LAST), quiet())
    assert "ctr.auc[impression, tab=1]" in found.metrics
    assert not any("cold users" in name for name in found.metrics), "every user was seen"


def test_metrics_are_shown_as_a_table_and_written_as_json(last_day, tmp_path):
    console = quiet()
    show_metrics(last_day.metrics, "title", console)
    assert "ctcvr" in console.file.getvalue()
    write_json(last_day, Days(LAST, LAST), tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text())
    assert document["model"] == "tiny/1"
    assert document["days"] == f"{LAST}:{LAST}"
    assert document["rows"] == 250
    assert document["metrics"] == last_day.metrics


def test_days_without_a_row_and_models_that_are_not_there_are_refused(tiny, tiny_log):
    with pytest.raises(DataError, match="holds no impression of days 20270101:20270102"):
        evaluate(Repository(tiny[0]), "tiny", tiny_log, Days(20270101, 20270102), quiet())
    with pytest.raises(UnknownModel, match="no model 'tinny'"):
        evaluate(Repository(tiny[0]), "tinny", tiny_log, Days(LAST, LAST), quiet())
