"""training/data/reader.py: what a day that the log does not know is told."""

import pytest

from tests.training.data.logs import write_kuairand
from training.data.config import DataConfig
from training.data.errors import DataError
from training.data.readers import reader_of
from training.features_build import build

DATA = DataConfig.model_validate(
    {"reader": "kuairand", "train": ":20220501", "validate": "20220502"}
)


@pytest.mark.parametrize(
    ("as_of", "sentence"),
    [
        (2022502, r"^as of 2022502: the log in .* begins on 20220428$"),
        (20220599, "^feature upload_age_days: day 20220599 is no YYYYMMDD to count ages to$"),
    ],
)
def test_records_of_a_mistyped_day_are_refused(tmp_path, as_of, sentence):
    users, items = tmp_path / "users.jsonl", tmp_path / "items.jsonl"
    with pytest.raises(DataError, match=sentence):
        build(reader_of(DATA), write_kuairand(tmp_path), as_of=as_of, users=users, items=items)
    assert not items.exists()
