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


def test_times_are_compared_with_no_log_and_with_a_plain_disk():
    times = {log_disk.NO_LOG: [1.0, 2.0, 3.0], log_disk.PLAIN: [4.0], log_disk.SLOW: [8.0]}
    found = log_disk.summary(times)
    assert found[log_disk.NO_LOG]["median_ms"] == 2
    assert found[log_disk.NO_LOG]["median_to_no_log"] == 1
    assert found[log_disk.SLOW]["median_to_no_log"] == 4
    assert found[log_disk.SLOW]["p99_to_a_plain_disk"] == 2


def test_a_full_disk_says_whether_there_is_one(tmp_path):
    with log_disk.full_disk(tmp_path / "disk") as mounted:
        assert (tmp_path / "disk").is_mount() == mounted
    assert not (tmp_path / "disk").is_mount()
