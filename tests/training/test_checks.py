"""training/checks.py and what reading refuses: broken logs are named before a step is taken."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.training.tiny import quiet, tiny_config, write_log
from training.config.run import RunConfig
from training.data.errors import DataError
from training.learn import Places, learn
from training.reading import reader_for


def _said(config: RunConfig, directory: Path) -> str:
    places = Places(data=directory, models=directory / "models", runs=directory / "runs")
    with pytest.raises(DataError) as refused:
        learn(config, reader_for(config), places, quiet())
    assert not places.runs.exists()  # not a step was taken
    return str(refused.value)


Change = Callable[[pl.DataFrame], pl.DataFrame]


def _set(column: str, row: int, value: object) -> Change:
    at = pl.int_range(pl.len()) == row
    return lambda frame: frame.with_columns(
        pl.when(at).then(pl.lit(value)).otherwise(column).alias(column)
    )


def _all(column: str, value: object) -> Change:
    return lambda frame: frame.with_columns(pl.lit(value).alias(column))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            _set("click", 17, "yes"),
            "log.csv, column 'click', row 17: 'yes' is no number",
            id="a label that is text",
        ),
        pytest.param(
            _set("click", 17, "2"),
            "task ctr: label 'click' goes from 0 to 2, and a head lies in 0 … 1: clip it, set"
            " at_least, or say how to `watch` it (first at log.csv, column 'click', row 17)",
            id="a label beyond 0 … 1",
        ),
        pytest.param(
            _set("completion", 5, "nan"),
            "log.csv, column 'completion', row 5: 'nan' is not finite",
            id="a label that is NaN",
        ),
        pytest.param(
            _set("time_ms", 9, "soon"),
            "log.csv, column 'time_ms', row 9: 'soon' is no time: seconds, milliseconds or an ISO"
            " time is",
            id="a time that is none",
        ),
        pytest.param(
            _set("user_id", 3, None),
            "log.csv, column 'user_id', row 3: an empty cell is no id: it is missing",
            id="an id that is missing",
        ),
        pytest.param(
            lambda frame: frame.drop("like"),
            "log.csv has no column 'like' (it has: ",
            id="a label's column that is not there",
        ),
        pytest.param(
            lambda frame: frame.filter(pl.col("time_ms").cast(pl.Int64) < 1_767_571_200_000),
            "validation days 20260105:20260106: log.csv has no row of them (it has: 20260101,"
            " 20260102, 20260103, 20260104)",
            id="no validation rows",
        ),
        pytest.param(
            lambda frame: frame.filter(pl.col("time_ms").cast(pl.Int64) < 1_767_657_600_000),
            "validation days 20260105:20260106: log.csv has no row of 20260106 (it has: 20260105)",
            id="an empty validation day",
        ),
        pytest.param(
            lambda frame: frame.filter(pl.col("time_ms").cast(pl.Int64) >= 1_767_571_200_000),
            "training days 20260101:20260104: log.csv has no row of them (it has: 20260105,"
            " 20260106)",
            id="no training rows",
        ),
        pytest.param(
            _all("click", "0"),
            "task ctr: log.csv, column 'click' is 0 in all",
            id="a constant label",
        ),
        pytest.param(
            _all("completion", ""),
            "task vcr: log.csv, column 'completion' is known in none of the training rows in space"
            " 'play': nothing to learn",
            id="a label that is never known",
        ),
    ],
)
def test_a_broken_log_is_named_before_a_step_is_taken(
    tmp_path: Path, change: Change, sentence: str
) -> None:
    path = write_log(tmp_path) / "log.csv"
    change(pl.read_csv(path, infer_schema=False)).write_csv(path)
    assert _said(tiny_config(), tmp_path).startswith(sentence)


def test_a_label_that_is_constant_on_the_validation_days_only_cannot_be_measured(
    tmp_path: Path,
) -> None:
    path = write_log(tmp_path) / "log.csv"
    late = pl.col("time_ms").cast(pl.Int64) >= 1_767_571_200_000
    frame = pl.read_csv(path, infer_schema=False)
    frame.with_columns(pl.when(late).then(pl.lit("1")).otherwise("click").alias("click")).write_csv(
        path
    )
    assert _said(tiny_config(), tmp_path) == (
        "task ctr: log.csv, column 'click' is 1 in all 500 of the validation rows in space"
        " 'impression': nothing to measure"
    )


def test_a_row_that_has_too_many_cells_is_refused(tmp_path: Path) -> None:
    path = write_log(tmp_path) / "log.csv"
    lines = path.read_text().splitlines()
    lines[41] += ",1"
    path.write_text("\n".join(lines))
    assert "log.csv" in _said(tiny_config(), tmp_path)


def test_nan_in_a_parquet_label_is_refused_and_an_empty_cell_is_undefined(tmp_path: Path) -> None:
    path = write_log(tmp_path) / "log.csv"
    frame = pl.read_csv(path)
    path.unlink()
    nan = _set("completion", 5, float("nan"))(frame)
    nan.write_parquet(tmp_path / "log.parquet")
    config = tiny_config()
    assert config.columns is not None
    columns = config.columns.model_copy(update={"files": ("log.parquet",)})
    config = config.model_copy(update={"columns": columns})
    assert _said(config, tmp_path) == (
        "log.parquet, column 'completion', row 5: 'nan' is no value of the label 'vcr':"
        " leave undefined cells empty"
    )
    frame.write_parquet(tmp_path / "log.parquet")
    assert reader_for(config).read(tmp_path).rows == len(frame)


def test_a_criterion_that_nothing_measures_is_refused(tmp_path: Path) -> None:
    config = tiny_config(criterion=["ctr.auc[impresion]"])
    said = _said(config, write_log(tmp_path))
    assert said.startswith("criterion 'ctr.auc[impresion]' was not measured (known: ctr.auc[impr")
