"""training/data/synthetic.py: the generated log, from memory and from disk."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from service.contract.encode import encode_rows
from training.data import columns, synthetic
from training.data.config import DataConfig, FeaturesConfig, SyntheticConfig
from training.data.log import Log
from training.data.reader import TableReader
from training.data.readers import reader_of

CONFIG = SyntheticConfig(users=40, items=60, days=4, impressions_per_day=500, seed=3)
DATA = DataConfig.model_validate(
    {"reader": "synthetic", "train": ":20260103", "validate": "20260104"}
)


@pytest.fixture(scope="module")
def log() -> Log:
    return reader_of(DATA, synthetic_config=CONFIG).read(Path())


def test_it_has_the_days_rows_and_labels_asked_for(log: Log) -> None:
    assert log.rows == 2_000
    assert np.unique(log.day).tolist() == [20260101, 20260102, 20260103, 20260104]
    assert {"click", "buy", "long_view", "vcr", "like"} == set(log.labels)
    assert {"impression", "click", "play"} == set(log.spaces)


def test_nothing_comes_of_an_impression_without_a_click(log: Log) -> None:
    unclicked = ~log.spaces["click"]
    for label in ("buy", "long_view", "like"):
        assert not log.labels[label][unclicked].any()
    assert np.isnan(log.labels["vcr"]).tolist() == unclicked.tolist()


def test_a_seed_is_a_world(log: Log) -> None:
    again = reader_of(DATA, synthetic_config=CONFIG).read(Path())
    other = CONFIG.model_copy(update={"seed": 4})
    assert (again.labels["click"] == log.labels["click"]).all()
    assert (
        reader_of(DATA, synthetic_config=other).read(Path()).labels["click"] != log.labels["click"]
    ).any()


def test_the_columns_reader_reads_back_what_was_written(log: Log, tmp_path: Path) -> None:
    synthetic.write(tmp_path, CONFIG)
    load = partial(columns.load, mapping=synthetic.MAPPING)
    reader = TableReader(load, synthetic.MAPPING, synthetic.HISTORY, FeaturesConfig())
    read = reader.read(tmp_path)
    schema = reader.features(read)
    assert schema == reader_of(DATA, synthetic_config=CONFIG).features(log)
    blocks = encode_rows(schema, log.columns, log.rows)
    for name, block in encode_rows(schema, read.columns, read.rows).items():
        assert (blocks[name] == block).all()
    for name, label in log.labels.items():
        np.testing.assert_array_equal(read.labels[name], label)


def test_the_schema_of_a_demo_is_small() -> None:
    reader = reader_of(DATA)
    schema = reader.features(reader.read(Path()))
    assert {a.name for a in schema.attributes} == {"videolen_s", "price"}
    assert len(schema.model_dump_json()) < 64_000
