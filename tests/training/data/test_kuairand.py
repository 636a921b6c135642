"""training/data/kuairand.py: the official layout, on a small log and on the real one."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from service.contract.encode import encode_rows
from tests.training.data.logs import DAYS, real_kuairand, write_kuairand
from training.data import kuairand
from training.data.config import DataConfig
from training.data.days import Days
from training.data.errors import BadCell, DataError
from training.data.log import Log
from training.data.reader import TableReader
from training.data.readers import reader_of


def reader(**changes: object) -> TableReader:
    document = {"reader": "kuairand", "train": ":20220501", "validate": "20220502"}
    return reader_of(DataConfig.model_validate(document | changes))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kuairand(tmp_path_factory.mktemp("kuairand"))


@pytest.fixture(scope="module")
def log(directory: Path) -> Log:
    return reader().read(directory)


def raw_log(directory: Path) -> Path:
    return directory / "data" / "log_standard_4_28_to_5_02_pure.csv"


def changed(directory: Path, to: Path, change: pl.Expr) -> Path:
    shutil.copytree(directory, to)
    pl.read_csv(raw_log(to)).with_columns(change).write_csv(raw_log(to))
    return to


def test_every_row_is_kept_and_numbered_as_it_was_read(directory: Path, log: Log) -> None:
    raw = pl.read_csv(raw_log(directory))
    assert log.row.tolist() == list(range(len(raw)))
    assert log.day.tolist() == raw["date"].to_list()
    assert log.user_id.tolist() == raw["user_id"].cast(pl.String).to_list()
    some = reader().read(directory, Days(20220430, 20220430))
    assert some.row.tolist() == np.flatnonzero(raw["date"] == 20220430).tolist()


def test_labels_follow_their_rules(directory: Path, log: Log) -> None:
    raw = pl.read_csv(raw_log(directory))
    timed = (raw["duration_ms"] > 0).to_numpy()
    ratio = (raw["play_time_ms"] / raw["duration_ms"]).to_numpy()
    assert log.spaces["timed"].tolist() == timed.tolist()
    np.testing.assert_allclose(log.labels["vcr"][timed], ratio[timed].clip(0, 1), rtol=1e-6)
    assert np.isnan(log.labels["vcr"][~timed]).all()
    assert log.labels["click"].tolist() == raw["is_click"].to_list()
    assert log.labels["play_7s"].tolist() == (raw["play_time_ms"] >= 7_000).cast(float).to_list()
    assert log.spaces["click"].tolist() == (raw["is_click"] == 1).to_list()
    assert log.spaces["impression"].all()


def test_missing_markers_empty_cells_and_float_texts_are_read(log: Log) -> None:
    live = dict(zip(log.user_id, log.columns["user"]["is_live_streamer"], strict=True))
    assert (live["0"], live["1"]) == ("1", None)
    feat = dict(zip(log.user_id, log.columns["user"]["onehot_feat4"], strict=True))
    assert (feat["1"], feat["5"]) == (None, "5")
    tags = dict(zip(log.item_id, log.columns["item"]["tag"], strict=True))
    assert (tags["0"], tags["1"], tags["3"]) == (None, None, ["0", "1", "2"])


def test_item_features_come_from_the_videos_not_from_the_log(log: Log) -> None:
    first = {item: at for at, item in reversed(list(enumerate(log.item_id)))}
    item = log.columns["item"]
    assert item["videolen_s"][first["4"]] == 25.0
    assert np.isnan(item["videolen_s"][first["0"]])
    assert item["duration_bucket"][first["4"]] == "5"
    assert item["upload_age_days"][first["4"]] == log.day[first["4"]] - 20220420


def test_no_outcome_is_an_input() -> None:
    outcomes = {label.source for label in kuairand.LABELS}
    outcomes |= {"profile_stay_time", "comment_stay_time", "is_hate", "duration_ms"}
    assert not {f.source for f in kuairand.FEATURES} & outcomes


OUTCOMES = (
    *("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_profile_enter"),
    *("long_view", "play_time_ms"),
)


@pytest.mark.parametrize("day", DAYS)
def test_the_outcomes_of_a_day_reach_only_later_days(
    directory: Path, log: Log, tmp_path: Path, day: int
) -> None:
    flip = pl.when(pl.col("date") == day).then(1 - pl.col(OUTCOMES).clip(0, 1))
    other = reader().read(
        changed(directory, tmp_path / "x", flip.otherwise(pl.col(OUTCOMES)).name.keep())
    )
    schema = reader().features(log)
    before = encode_rows(schema, log.columns, log.rows)
    after = encode_rows(schema, other.columns, other.rows)
    reached = np.zeros(log.rows, bool)
    for name, block in before.items():
        reached |= (block != after[name]).any(axis=1)
    assert not reached[log.day <= day].any()
    if day < DAYS[-1]:
        assert reached[log.day > day].mean() > 0.5


def test_days_that_are_not_asked_for_are_history_all_the_same(directory: Path, log: Log) -> None:
    asked = Days(20220502, 20220502)
    alone, among = reader().read(directory, asked), log.of(asked)
    schema = reader().features(log)
    one = encode_rows(schema, alone.columns, alone.rows)
    for name, block in encode_rows(schema, among.columns, among.rows).items():
        assert (one[name] == block).all()


def test_more_logs_are_read_in_name_order(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "more")
    late = raw_log(tmp_path / "more")
    early = pl.read_csv(late).with_columns(pl.col("date") - 7).head(5)
    early.write_csv(late.with_name("log_standard_4_08_to_4_21_pure.csv"))
    early.write_csv(late.with_name("log_random_4_22_to_5_08_pure.csv"))
    early.write_csv(late.with_name("video_features_statistic_pure.csv"))
    log = reader().read(tmp_path / "more")
    assert log.rows == 405
    assert (log.day[:5] <= 20220425).all()
    assert reader(include_random=True).read(tmp_path / "more").rows == 410


def test_the_files_may_lie_in_the_directory_itself(directory: Path) -> None:
    assert reader().read(directory / "data").rows == 400


def test_a_directory_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no log_standard_\*.csv"):
        reader().read(tmp_path)


def test_a_missing_side_table_is_named(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "x")
    (tmp_path / "x" / "data" / "user_features_pure.csv").unlink()
    with pytest.raises(DataError, match=r"must hold one user_features_\*.csv \(found: none\)"):
        reader().read(tmp_path / "x")


def test_a_broken_cell_is_named(directory: Path, tmp_path: Path) -> None:
    at = pl.int_range(pl.len()) == 17
    broken = pl.when(at).then(pl.lit("often")).otherwise(pl.col("is_click")).alias("is_click")
    with pytest.raises(BadCell, match=r"log_standard_.*, column 'is_click', row 17: 'often' is no"):
        reader().read(changed(directory, tmp_path / "x", broken))


@pytest.mark.timeout(300)
def test_the_real_log_is_read_whole() -> None:
    log = reader().read(real_kuairand())
    assert log.rows == 185_061
    assert log.row.tolist() == list(range(log.rows))
    assert np.isnan(log.labels["vcr"]).sum() == (~log.spaces["timed"]).sum() == 2_793
    assert log.labels["click"].mean() == pytest.approx(0.4424, abs=1e-4)
    schema = reader().features(log.of(Days.parse(":20220503")))
    blocks = encode_rows(schema, log.columns, log.rows)
    assert all(len(block) == log.rows for block in blocks.values())
