"""training/data/columns.py: any log through a mapping."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from service.contract.encode import encode_rows
from training.data.config import ColumnsConfig, DataConfig
from training.data.errors import BadCell, DataError, MissingColumn
from training.data.history_config import HistoryConfig
from training.data.log import Log
from training.data.readers import reader_of

LOG = pl.DataFrame(
    {
        "uid": [1, 2, 1, 2],
        "iid": ["a", "b", "a", "a"],
        "date": ["2026-01-01", "2026-01-01", "2026-01-02", "2026-01-02"],
        "device": ["ios", "", "web", "ios"],
        "cost": ["1.5", "2", "", "3"],
        "words": ["x y", "", "y", "x"],
        "outcome": ["bought", "left", "bought", "left"],
        "stars": ["4", "", "2", "5"],
    }
)
MAPPING: dict[str, Any] = {
    "user": "uid",
    "item": "iid",
    "day": "date",
    "features": [
        {"name": "user_id", "column": "uid", "side": "user", "kind": "categorical"},
        {"name": "item_id", "column": "iid", "side": "item", "kind": "categorical"},
        {"name": "device", "side": "context", "kind": "categorical"},
        {"name": "cost", "side": "item", "kind": "numeric", "attribute": True, "unit": "EUR"},
        {"name": "words", "side": "item", "kind": "multi", "separator": " ", "max_length": 2},
    ],
    "labels": [
        {"name": "buy", "column": "outcome", "equals": "bought"},
        {"name": "liked", "column": "stars", "at_least": 4, "space": "rated"},
        {"name": "stars"},
    ],
    "spaces": [
        {"name": "buy", "label": "buy"},
        {"name": "rated", "label": "stars", "rule": "defined"},
    ],
}
HISTORY = HistoryConfig.model_validate(
    {
        "outcomes": [{"label": "buy", "prior": 0.5, "strength": 1}],
        "rates": [{"by": ["user_id"]}, {"by": ["user_id", "item_id"]}],
        "recent": [{"name": "recent_items", "length": 3}],
    }
)


def reader(history: HistoryConfig | None = None, **changes: Any) -> Any:
    data = DataConfig.model_validate({"reader": "columns", "train": "1:1", "validate": "2:"})
    columns = ColumnsConfig.model_validate(MAPPING | changes)
    return reader_of(data, columns_config=columns, history=history)


def read(directory: Path, frame: pl.DataFrame = LOG, **changes: Any) -> Log:
    frame.write_csv(directory / "log.csv")
    log: Log = reader(**changes).read(directory)
    return log


def test_columns_are_mapped_to_sides_labels_and_spaces(tmp_path: Path) -> None:
    log = read(tmp_path)
    assert log.day.tolist() == [20260101, 20260101, 20260102, 20260102]
    assert log.user_id.tolist() == ["1", "2", "1", "2"]
    assert log.columns["context"]["device"].tolist() == ["ios", None, "web", "ios"]
    assert log.columns["item"]["words"].tolist() == [["x", "y"], None, ["y"], ["x"]]
    np.testing.assert_equal(log.columns["item"]["cost"], [1.5, 2.0, np.nan, 3.0])
    assert log.labels["buy"].tolist() == [1, 0, 1, 0]
    np.testing.assert_equal(log.labels["liked"], [1, np.nan, 0, 1])
    assert log.spaces["rated"].tolist() == [True, False, True, True]
    assert log.spaces["buy"].tolist() == [True, False, True, False]


def test_history_falls_out_of_the_mapping(tmp_path: Path) -> None:
    log = read(tmp_path, history=HISTORY)
    assert log.columns["user"]["user_buy_rate"].tolist() == [0.5, 0.5, 0.75, 0.25]
    assert log.columns["cross"]["user_item_rates"][:, 0].tolist() == [0.5, 0.5, 0.75, 0.5]
    assert log.columns["user"]["recent_items"].tolist() == [[], [], ["a"], ["b"]]


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    from_csv = read(tmp_path, history=HISTORY)
    schema = reader(HISTORY).features(from_csv)
    (tmp_path / "log.csv").unlink()
    LOG.with_columns(
        pl.col("cost", "stars").replace("", None).cast(pl.Float32),
        pl.col("date").str.to_date(),
        pl.col("words").replace("", None).str.split(" "),
        pl.col("device").replace("", None).cast(pl.Categorical),
    ).write_parquet(tmp_path / "log.parquet")
    from_parquet = reader(HISTORY).read(tmp_path)
    assert reader(HISTORY).features(from_parquet) == schema
    one = encode_rows(schema, from_csv.columns, 4)
    for name, block in encode_rows(schema, from_parquet.columns, 4).items():
        assert (one[name] == block).all()


def test_a_time_orders_rows_and_its_local_date_is_the_day(tmp_path: Path) -> None:
    frame = LOG.with_columns(ts=pl.Series([1767268800, 1767225600, 1767229200, 1767301200]))
    log = read(tmp_path, frame, day=None, time="ts", utc_offset_h=8)
    assert log.day.tolist() == [20260101, 20260101, 20260101, 20260102]


def test_without_a_day_each_file_is_one(tmp_path: Path) -> None:
    LOG.head(3).write_csv(tmp_path / "train.csv")
    LOG.tail(1).write_csv(tmp_path / "test.csv")
    log = reader(day=None, files=["train.csv", "test.csv"]).read(tmp_path)
    assert log.day.tolist() == [1, 1, 1, 2]
    assert log.row.tolist() == [0, 1, 2, 3]


def test_side_tables_are_joined_by_id_and_are_no_logs(tmp_path: Path) -> None:
    pl.DataFrame({"iid": ["a", "c"], "cost": [7.0, 8.0]}).write_csv(tmp_path / "goods.csv")
    log = read(tmp_path, items="goods.csv")
    np.testing.assert_equal(log.columns["item"]["cost"], [7.0, np.nan, 7.0, 7.0])
    _, items = reader(items="goods.csv").records(tmp_path, 20260103)
    assert {r["id"]: r.get("cost") for r in items} == {"a": 7.0, "b": None, "c": 8.0}


def test_a_record_without_a_side_table_is_the_newest_impression(tmp_path: Path) -> None:
    read(tmp_path)
    _, items = reader(HISTORY).records(tmp_path, 20260103)
    assert list(items) == [
        {"id": "a", "cost": 3.0, "words": ["x"]},
        {"id": "b", "cost": 2.0},
    ]


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("cost", "cheap", "log.csv, column 'cost', row 2: 'cheap' is no number"),
        ("date", "yesterday", "log.csv, column 'date', row 2: 'yesterday' is no day"),
        ("iid", None, "log.csv, column 'iid', row 2: an empty cell is no id: it is missing"),
        ("stars", "many", "log.csv, column 'stars', row 2: 'many' is no number"),
    ],
)
def test_a_broken_cell_is_named_by_file_column_and_row(
    tmp_path: Path, column: str, value: str | None, sentence: str
) -> None:
    row = pl.int_range(pl.len()) == 2
    broken = pl.when(row).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    with pytest.raises(BadCell, match=sentence):
        read(tmp_path, LOG.with_columns(broken))


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(MissingColumn, match=r"log.csv has no column 'cost' \(it has: uid, iid"):
        read(tmp_path, LOG.drop("cost"))


def test_a_directory_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no log file \(\*.parquet or \*.csv\)"):
        reader().read(tmp_path)
