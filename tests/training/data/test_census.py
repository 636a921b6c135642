"""training/data/census.py: the published split, on a few made-up persons and on the real files."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from training.data import census
from training.data.config import DataConfig
from training.data.days import Days
from training.data.errors import BadCell, DataError, MissingColumn
from training.data.reader import TableReader
from training.data.readers import reader_of

REAL = Path(os.environ.get("FINERANK_TEST_DATA", "../shared/data")) / "census-income"


def reader() -> TableReader:
    document = {"reader": "census", "train": "1", "validate": "2"}
    return reader_of(DataConfig.model_validate(document))


def persons(rows: int) -> pl.DataFrame:
    at = np.arange(rows)
    columns: dict[str, object] = dict.fromkeys(
        (f.source for f in census.FEATURES), np.array(["?", "b"])[at % 2]
    )
    columns |= dict.fromkeys(census.NUMBERS, at) | {"instance_weight": at * 1.5}
    columns["marital_stat"] = np.array(["Never married", "Widowed", "Divorced"])[at % 3]
    columns["income_50k"] = np.array(["50000+.", "- 50000."])[at % 2]
    return pl.DataFrame(columns)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    persons(60).write_parquet(tmp_path / census.TRAIN_FILE)
    persons(41).write_parquet(tmp_path / census.TEST_FILE)
    return tmp_path


def test_the_train_file_is_day_1_and_the_test_file_is_halved_into_days_2_and_3(
    directory: Path,
) -> None:
    log = reader().read(directory)
    assert log.day[:60].tolist() == [1] * 60
    assert sorted(log.day[60:].tolist()) == [2] * 20 + [3] * 21
    assert log.row.tolist() == list(range(101))
    test = reader().read(directory, Days(3, 3))
    assert test.row.tolist() == np.flatnonzero(log.day == 3).tolist()


def test_labels_are_the_papers_two_tasks(directory: Path) -> None:
    log = reader().read(directory)
    assert log.labels["income_50k"][:4].tolist() == [1, 0, 1, 0]
    assert log.labels["never_married"][:4].tolist() == [1, 0, 0, 1]


def test_no_label_and_no_weight_is_an_input(directory: Path) -> None:
    log = reader().read(directory)
    sources = {f.source for f in census.FEATURES}
    assert not sources & {"income_50k", "marital_stat", "instance_weight"}
    assert len(sources) == 39
    assert sources == set(persons(1).columns) - {"income_50k", "marital_stat", "instance_weight"}
    assert {n for side in log.columns.values() for n in side} == {f.name for f in census.FEATURES}


def test_the_asker_has_no_features_and_every_person_is_a_candidate(directory: Path) -> None:
    users, items = reader().records(directory, 3)
    assert list(users) == [{"id": "census"}]
    people = list(items)
    assert len(people) == 101
    assert people[0].keys() == {"id"} | {feature.name for feature in census.FEATURES}


@pytest.mark.parametrize(
    ("column", "wrong"), [("income_50k", "50000"), ("marital_stat", "never married")]
)
def test_a_label_value_that_is_none_is_named_with_its_place(
    directory: Path, column: str, wrong: str
) -> None:
    at = pl.int_range(pl.len()) == 7
    frame = persons(41).with_columns(
        pl.when(at).then(pl.lit(wrong)).otherwise(column).alias(column)
    )
    frame.write_parquet(directory / census.TEST_FILE)
    place = rf"census_income_test.parquet, column '{column}', row 7: '{wrong}' is no value of"
    with pytest.raises(BadCell, match=place):
        reader().read(directory)


def test_a_missing_file_or_column_is_named(directory: Path) -> None:
    for name in (census.TRAIN_FILE, census.TEST_FILE):
        pl.read_parquet(directory / name).drop("sex").write_parquet(directory / name)
    with pytest.raises(MissingColumn, match=r"census_income_train.parquet .* no column 'sex'"):
        reader().read(directory)
    (directory / census.TEST_FILE).unlink()
    with pytest.raises(DataError, match=r"census_income_test.parquet does not exist"):
        reader().read(directory)


@pytest.mark.skipif(not REAL.is_dir(), reason="Census-Income is not here")
def test_the_real_files_have_the_published_rows_and_rates() -> None:
    log = reader().read(REAL)
    assert [int((log.day == part).sum()) for part in (1, 2, 3)] == [199_523, 49_881, 49_881]
    assert log.labels["income_50k"].mean() == pytest.approx(0.062, abs=5e-4)
    assert log.labels["never_married"].mean() == pytest.approx(0.433, abs=5e-4)
    assert not any(np.isnan(label).any() for label in log.labels.values())
