"""training/data/records.py; their equality with rows: tests/training/test_features_build.py."""

import pytest

from tests.training.data.logs import write_kuairand
from training.data.config import DataConfig
from training.data.log import Record
from training.data.readers import reader_of

DATA = DataConfig.model_validate(
    {"reader": "kuairand", "train": ":20220501", "validate": "20220502"}
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], list[Record]]:
    directory = write_kuairand(tmp_path_factory.mktemp("kuairand"))
    users, items = reader_of(DATA).records(directory, 20220502)
    return list(users), list(items)


def test_numbers_as_ids_come_in_their_order(records: tuple[list[Record], list[Record]]) -> None:
    assert [user["id"] for user in records[0]] == [str(n) for n in range(12)]


def test_what_is_absent_is_left_out(records: tuple[list[Record], list[Record]]) -> None:
    users, items = records
    assert "is_live_streamer" not in users[1]
    assert not {"videolen_s", "duration_bucket", "tag"} & items[0].keys()
    assert items[3]["tag"] == ["0", "1", "2"]


def test_maps_hold_one_entry_a_key_seen(records: tuple[list[Record], list[Record]]) -> None:
    users, items = records
    assert set(items[3]["video_tab"]) == {"0", "1", "2"}
    assert all(len(numbers) == 5 for numbers in users[0]["user_tab"].values())
    assert len(users[0]["recent_videos"]) == 20


def test_the_id_itself_is_no_feature_of_the_record(
    records: tuple[list[Record], list[Record]],
) -> None:
    assert "user_id" not in records[0][0]
    assert "video_id" not in records[1][0]
