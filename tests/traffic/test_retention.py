"""What is too old or too much goes, the oldest first; items stay as long as they may be needed."""

import os
from collections import Counter

import pytest

from service.traffic.retention import Retention

DAY_S = 86_400.0
NOW = 1_000 * DAY_S


class Removed(Counter):
    def __call__(self, why, files):
        self[why] += files


@pytest.fixture
def directory(tmp_path):
    shelf = tmp_path / "feed" / "m" / "1"
    shelf.mkdir(parents=True)
    for age in range(5):
        for kind in ("requests", "items"):
            path = shelf / f"{kind}-{age}.parquet"
            path.write_bytes(b"x" * 100)
            os.utime(path, (NOW - age * DAY_S, NOW - age * DAY_S))
    part = shelf / "requests-9.parquet.part"
    part.write_bytes(b"x" * 100)
    os.utime(part, (0, 0))
    (tmp_path / "feed" / "notes.txt").write_text("somebody's")
    return tmp_path


def left(directory):
    return sorted(path.name.removesuffix(".parquet") for path in directory.rglob("*.parquet"))


def tidy(directory, days=None, most=None, items_s=0.0):
    removed = Removed()
    Retention(directory, days, most, items_s, removed, clock=lambda: NOW).tidy()
    assert (directory / "feed" / "notes.txt").exists()
    assert list(directory.rglob("*.part"))
    return removed


def test_older_files_are_removed_and_counted(directory):
    assert tidy(directory, days=2.5) == {"age": 4}
    assert left(directory) == [f"{kind}-{n}" for kind in ("items", "requests") for n in range(3)]


def test_items_stay_as_long_as_a_cache_may_have_served_them(directory):
    assert tidy(directory, days=2.5, items_s=DAY_S) == {"age": 3}
    assert left(directory) == [
        *(f"items-{n}" for n in range(4)),
        *(f"requests-{n}" for n in range(3)),
    ]


def test_beyond_a_size_the_oldest_requests_go_and_the_items_before_them(directory):
    # 1000 bytes; one file of requests and one of items less are 800
    assert tidy(directory, most=800) == {"size": 2}
    assert left(directory) == [f"{kind}-{n}" for kind in ("items", "requests") for n in range(4)]


def test_items_that_go_with_their_requests_spare_later_requests(directory):
    for path in directory.rglob("items-*.parquet"):
        about = path.stat()
        path.write_bytes(b"x" * 1_000)
        os.utime(path, (about.st_mtime, about.st_mtime))
    # 5500 bytes, 500 of them requests: two of each less are 3300
    assert tidy(directory, most=3_300) == {"size": 4}
    assert left(directory) == [f"{kind}-{n}" for kind in ("items", "requests") for n in range(3)]


def test_items_stay_beyond_a_size_as_long_as_a_cache_may_have_served_them(directory):
    assert tidy(directory, most=0, items_s=1.5 * DAY_S) == {"size": 8}
    assert left(directory) == ["items-0", "items-1"]


def test_within_the_limits_and_without_any_nothing_goes(directory):
    before = left(directory)
    assert tidy(directory) == {}
    assert tidy(directory, days=9, most=1_000) == {}
    assert left(directory) == before


def test_a_directory_that_is_not_there_yet_is_no_error(tmp_path):
    (tmp_path / "feed").mkdir()
    Retention(tmp_path / "log", 1.0, 1, 0.0, Removed()).tidy()
