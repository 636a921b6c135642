"""training/data/tables.py."""

from pathlib import Path

import pytest

from training.data.errors import DataError
from training.data.tables import Source, read_table


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    one = write(tmp_path / "1.csv", "a,b\n1,2\n")
    two = write(tmp_path / "2.csv", "b,a\n4,3\n6,5\n")
    table = read_table([one, two])
    assert table.frame.to_dict(as_series=False) == {"a": ["1", "3", "5"], "b": ["2", "4", "6"]}
    assert table.source.files == (("1.csv", 1), ("2.csv", 2))


def test_a_row_is_found_in_its_own_file() -> None:
    source = Source((("1.csv", 2), ("2.csv", 3)))
    assert [source.place(row) for row in (0, 1, 2, 4)] == [
        ("1.csv", 0),
        ("1.csv", 1),
        ("2.csv", 0),
        ("2.csv", 2),
    ]
    assert str(source) == "1.csv and 1 more"


def test_files_of_one_log_have_the_same_columns(tmp_path: Path) -> None:
    one = write(tmp_path / "1.csv", "a,b\n1,2\n")
    two = write(tmp_path / "2.csv", "a,c\n1,2\n")
    with pytest.raises(DataError, match=r"2.csv and 1.csv differ in columns: b, c"):
        read_table([one, two])


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.csv does not exist"):
        read_table([tmp_path / "none.csv"])
    with pytest.raises(DataError, match=r"log.txt is neither .csv nor .parquet"):
        read_table([write(tmp_path / "log.txt", "a\n1\n")])
    with pytest.raises(DataError, match=r"bad.parquet cannot be read"):
        read_table([write(tmp_path / "bad.parquet", "no parquet")])
