"""training/data/aliccp.py: the official layout, on made-up files of that shape."""

from pathlib import Path

import numpy as np
import pytest

from service.contract.encode import encode_rows
from training.data.config import DataConfig
from training.data.days import Days
from training.data.errors import BadCell, DataError
from training.data.reader import TableReader
from training.data.readers import reader_of


def reader() -> TableReader:
    return reader_of(
        DataConfig.model_validate({"reader": "ali-ccp", "train": "1", "validate": "2"})
    )


def features(*entries: tuple[str, str]) -> tuple[str, str]:
    """Number of features, and the list of them as the files write it."""
    return str(len(entries)), "\x01".join(f"{field}\x02{id_}\x031.0" for field, id_ in entries)


def user(index: int) -> str:
    entries = [("101", f"u{index % 3}"), ("124", str(index % 2)), ("127", "9")]
    entries += [("109_14", f"c{n}") for n in range(index)]
    return ",".join([f"common{index}", *features(*entries)])


def impression(at: int, click: int, conversion: int, common: int) -> str:
    entries = [("205", f"i{at % 4}"), ("206", "c1"), ("210", "n1"), ("210", "n2"), ("508", "x")]
    entries += [("301", "p1")]
    head = [f"s{at}", str(click), str(conversion), f"common{common}"]
    return ",".join([*head, *features(*entries)])


LABELS = ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for part, rows in (("train", 5), ("test", 9)):
        lines = [impression(at, *LABELS[at % 5], common=at % 4) for at in range(rows)]
        (tmp_path / f"sample_skeleton_{part}.csv").write_text("\n".join(lines) + "\n")
        shared = "\n".join(user(index) for index in range(4)) + "\n"
        (tmp_path / f"common_features_{part}.csv").write_text(shared)
    return tmp_path


def test_impressions_take_the_common_features_of_their_index(directory: Path) -> None:
    log = reader().read(directory, Days(1, 1))
    assert log.user_id.tolist() == ["u0", "u1", "u2", "u0", "u0"]
    assert log.item_id.tolist() == ["i0", "i1", "i2", "i3", "i0"]
    assert log.columns["user"]["gender"].tolist() == ["0", "1", "0", "1", "0"]
    assert log.columns["user"]["consumption_2"].tolist() == ["9"] * 5
    past = [None, ["c0"], ["c0", "c1"], ["c0", "c1", "c2"], None]
    assert log.columns["user"]["past_categories"].tolist() == past
    assert log.columns["item"]["intentions"].tolist() == [["n1", "n2"]] * 5
    assert log.columns["context"]["position"].tolist() == ["p1"] * 5


def test_a_conversion_without_a_click_has_no_labels(directory: Path) -> None:
    log = reader().read(directory, Days(1, 1))
    np.testing.assert_equal(log.labels["click"], [0, 1, 1, np.nan, 0])
    np.testing.assert_equal(log.labels["conversion"], [0, 0, 1, np.nan, 0])
    assert log.spaces["click"].tolist() == [False, True, True, False, False]


def test_the_train_part_is_day_1_and_the_test_part_is_halved(directory: Path) -> None:
    days = reader().read(directory).day
    assert days[:5].tolist() == [1] * 5
    assert sorted(days[5:].tolist()) == [2] * 4 + [3] * 5


def test_the_log_is_encoded_with_the_vocabularies_of_the_train_part(directory: Path) -> None:
    log = reader().read(directory)
    schema = reader().features(log.of(Days(1, 1)))
    assert (schema.user_id_feature, schema.item_id_feature) == ("user_id", "item_id")
    assert "508" not in {feature.name for feature in schema.features}
    blocks = encode_rows(schema, log.columns, log.rows)
    assert {name: len(block) for name, block in blocks.items()} == {
        "user_ids": 14,
        "context_ids": 14,
        "item_ids": 14,
    }


def changed(directory: Path, file: str, row: int, old: str, new: str) -> Path:
    path = directory / file
    lines = path.read_text().split("\n")
    assert old in lines[row]
    lines[row] = lines[row].replace(old, new, 1)
    path.write_text("\n".join(lines))
    return directory


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        (
            "sample_skeleton_train.csv",
            "s2,1,1",
            "s2,1,2",
            "sample_skeleton_train.csv, column 'conversion', row 2: '2' is no value of the label"
            " 'conversion' (known: 1, 0)",
        ),
        (
            "sample_skeleton_test.csv",
            "common2,6",
            "common2,7",
            "sample_skeleton_test.csv, column 'count', row 2: '7' is not the number of features"
            " that follow",
        ),
        (
            "sample_skeleton_test.csv",
            "common2",
            "common9",
            "sample_skeleton_test.csv, column 'common', row 2: 'common9' is not in"
            " common_features_test.csv",
        ),
        (
            "common_features_train.csv",
            "124\x02",
            "124",
            "common_features_train.csv, column 'features', row 2: '1240\\x031.0' is no feature:"
            " field \\x02 id \\x03 value is",
        ),
        (
            "common_features_train.csv",
            "101\x02",
            "102\x02",
            "sample_skeleton_train.csv, column 'features', row 2: ",
        ),
    ],
)
def test_what_is_broken_is_named_with_its_place(
    directory: Path, file: str, old: str, new: str, sentence: str
) -> None:
    with pytest.raises(BadCell) as refused:
        reader().read(changed(directory, file, 2, old, new))
    assert str(refused.value).startswith(sentence)


def test_a_missing_file_is_named(directory: Path) -> None:
    (directory / "common_features_test.csv").unlink()
    with pytest.raises(DataError, match=r"common_features_test\.csv does not exist"):
        reader().read(directory)
