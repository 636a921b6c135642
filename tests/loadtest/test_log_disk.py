"""The slow disk is a file that takes its time and loses nothing; ratios are to no log at all."""

import pytest

from loadtest import log_disk


def test_a_slow_file_writes_what_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(log_disk, "_WRITE_S", 0.0)
    file = log_disk.open_slow(tmp_path / "new")
    assert file.write(b"abc") == 3
    file.close()
    assert (tmp_path / "new").read_bytes() == b"abc"
    with pytest.raises(FileExistsError):
        log_disk.open_slow(tmp_path / "new")


def test_times_are_compared_with_those_without_a_log():
    found = log_disk.summary({log_disk.NO_LOG: [1.0, 2.0, 3.0], log_disk.SLOW: [2.0, 4.0, 6.0]})
    assert found[log_disk.NO_LOG]["median_ratio"] == 1
    assert found[log_disk.SLOW] == {
        "median_ms": 4.0,
        "p99_ms": 5.96,
        "median_ratio": 2.0,
        "p99_ratio": 2.0,
    }


def test_a_full_disk_says_whether_there_is_one(tmp_path):
    with log_disk.full_disk(tmp_path / "disk") as mounted:
        assert (tmp_path / "disk").is_mount() == mounted
    assert not (tmp_path / "disk").is_mount()
