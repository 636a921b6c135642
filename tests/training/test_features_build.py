"""training/features_build.py: records of a day, encoded as requests, are that day's rows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.encode import encode_request, encode_rows
from service.contract.features import FeatureSchema
from service.features.record_files import open_records
from tests.training.data.logs import real_kuairand, write_kuairand
from training.data.config import DataConfig, FeaturesConfig, SyntheticConfig
from training.data.days import Days
from training.data.errors import DataError
from training.data.log import Log
from training.data.reader import TableReader
from training.data.readers import reader_of
from training.features_build import build

KUAIRAND = DataConfig.model_validate(
    {"reader": "kuairand", "train": ":20220501", "validate": "20220502:20220505"}
)
SYNTHETIC = DataConfig.model_validate(
    {"reader": "synthetic", "train": ":20260103", "validate": "20260104:"}
)
SMALL = SyntheticConfig(users=30, items=20, days=4, impressions_per_day=300)


def written(
    reader: TableReader, directory: Path, as_of: int, to: Path, suffix: str = ".jsonl"
) -> tuple[dict[str, Any], dict[str, Any]]:
    paths = to / f"users{suffix}", to / f"items{suffix}"
    build(reader, directory, as_of=as_of, users=paths[0], items=paths[1])
    users, items = (
        {row.id: row.values for row in open_records(path).rows()}  # type: ignore[union-attr]
        for path in paths
    )
    return users, items


def assert_rows_equal(
    schema: FeatureSchema,
    log: Log,
    users: Mapping[str, Any],
    items: Mapping[str, Any],
    rows: np.ndarray,
) -> None:
    """Each row as a request of one candidate gives its training row, bit for bit."""
    day = log.take(rows)
    expected = encode_rows(schema, day.columns, day.rows)
    context = day.columns["context"]
    names = {f.name for f in schema if f.side == "context"} & context.keys()
    raw = [n for n in names if context[n].dtype == object]
    for at in range(day.rows):
        user = dict(users.get(day.user_id[at], {}))
        item = dict(items.get(day.item_id[at], {}))
        if schema.user_id_feature is not None:
            user[schema.user_id_feature] = day.user_id[at]
        if schema.item_id_feature is not None:
            item[schema.item_id_feature] = day.item_id[at]
        found = encode_request(
            schema, user, {n: context[n][at] for n in raw}, {n: [v] for n, v in item.items()}, 1
        )
        for name, block in expected.items():
            assert found[name].tobytes() == block[at : at + 1].tobytes(), (name, day.row[at])


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_records_equal_the_training_rows_of_their_day(tmp_path: Path, suffix: str) -> None:
    directory, reader = write_kuairand(tmp_path / "log"), reader_of(KUAIRAND)
    log = reader.read(directory)
    schema = reader.features(log.of(KUAIRAND.train_days))
    for day in (20220428, 20220430, 20220502):
        users, items = written(reader, directory, day, tmp_path / str(day), suffix)
        assert_rows_equal(schema, log, users, items, np.flatnonzero(log.day == day))


def test_records_equal_the_rows_of_the_generated_log(tmp_path: Path) -> None:
    reader = reader_of(SYNTHETIC, synthetic_config=SMALL)
    log = reader.read(tmp_path)
    users, items = written(reader, tmp_path, 20260104, tmp_path)
    assert_rows_equal(reader.features(log), log, users, items, np.flatnonzero(log.day == 20260104))


@pytest.mark.timeout(300)  # the whole log is read twice and written once
def test_records_equal_rows_of_the_real_log(tmp_path: Path) -> None:
    directory, reader = real_kuairand(), reader_of(KUAIRAND)
    log = reader.read(directory)
    schema = reader.features(log.of(Days.parse(":20220503")))
    users, items = written(reader, directory, 20220504, tmp_path)
    assert (len(users), len(items)) == (27_285, 7_583)
    rows = np.flatnonzero(log.day == 20220504)
    assert_rows_equal(schema, log, users, items, np.random.default_rng(1).choice(rows, 500))


def test_what_a_model_excludes_is_not_written_but_what_it_looks_up_by_is(tmp_path: Path) -> None:
    chosen = FeaturesConfig(
        exclude=("videolen_s", "author_id", "tag", "user_tag_rates", "recent_*")
    )
    reader = reader_of(KUAIRAND, features=chosen)
    users, items = written(reader, write_kuairand(tmp_path / "log"), 20220502, tmp_path)
    assert {"videolen_s", "author_id"} <= items["3"].keys()
    assert "tag" not in items["3"]
    assert "user_author" in users["3"]
    assert not {"user_tag", "recent_videos"} & users["3"].keys()


def test_unseen_users_and_items_are_written_with_what_is_known(tmp_path: Path) -> None:
    directory, reader = write_kuairand(tmp_path / "log", users=12), reader_of(KUAIRAND)
    users, items = written(reader, directory, 20220428, tmp_path)  # the first day: no history
    assert len(users) == 12
    assert len(items) == 9
    assert users["5"]["user_click_rate"] == 0.44
    assert users["5"]["recent_videos"] == []
    assert "user_author" not in users["5"]


def test_lines_are_records_with_an_id(tmp_path: Path) -> None:
    reader = reader_of(SYNTHETIC, synthetic_config=SMALL)
    written(reader, tmp_path, 20260104, tmp_path)
    lines = (tmp_path / "users.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines][:3] == ["u0", "u1", "u10"]


def test_another_suffix_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"items.csv: cannot write '.csv' \(known: .jsonl,"):
        build(
            reader_of(KUAIRAND),
            tmp_path,
            as_of=20220502,
            users=tmp_path / "users.jsonl",
            items=tmp_path / "items.csv",
        )


def test_a_build_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no log_standard"):
        build(
            reader_of(KUAIRAND),
            tmp_path,
            as_of=20220502,
            users=tmp_path / "users.jsonl",
            items=tmp_path / "items.jsonl",
        )
    assert list(tmp_path.iterdir()) == []
