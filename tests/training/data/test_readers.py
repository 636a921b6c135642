"""training/data/readers.py."""

import pytest

from training.data import kuairand
from training.data.config import ColumnsConfig, DataConfig
from training.data.errors import DataError
from training.data.history_config import HistoryConfig
from training.data.readers import reader_of


def data(reader: str) -> DataConfig:
    return DataConfig.model_validate({"reader": reader, "train": "1", "validate": "2"})


def test_columns_belong_to_the_columns_reader() -> None:
    columns = ColumnsConfig.model_validate(
        {
            "user": "u",
            "item": "i",
            "features": [{"name": "a", "side": "user", "kind": "numeric"}],
            "labels": [{"name": "click"}],
        }
    )
    assert reader_of(data("columns"), columns_config=columns).mapping == columns
    for name, given in (("columns", None), ("kuairand", columns)):
        with pytest.raises(DataError, match=rf"reader '{name}': \[columns\] belongs to reader"):
            reader_of(data(name), columns_config=given)


def test_a_configured_history_replaces_the_readers_own() -> None:
    assert reader_of(data("kuairand")).history == kuairand.HISTORY
    assert reader_of(data("kuairand"), history=HistoryConfig()).history == HistoryConfig()
