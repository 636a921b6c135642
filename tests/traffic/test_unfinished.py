"""Unfinished files go with the process that wrote them, and only with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from service.traffic.parquet_file import PART, RotatingFile
from service.traffic.sampling import Sample
from service.traffic.serving_log import open_log
from service.traffic.unfinished import remove_unfinished

WRITE_AND_WAIT = """
import sys
from pathlib import Path
from tests.traffic.test_unfinished import begun
file = begun(Path(sys.argv[1]), "killed")
print(flush=True)
sys.stdin.read()
"""


def begun(root: Path, unique: str) -> RotatingFile:
    """A log file of one row that is not finished."""
    directory = root / "feed" / "tiny" / "1"
    file = RotatingFile(
        directory, "requests", unique, rotate_bytes=1 << 20, rotate_s=300.0, dictionary=[]
    )
    file.write(arrow.table({"at": [1.0]}))
    return file


def names(root: Path) -> list[str]:
    """Whose files there are."""
    return sorted(path.name.split("-")[2] + path.suffix for path in root.rglob("*.parquet*"))


def age(root: Path) -> None:
    for path in root.rglob(f"*{PART}"):
        os.utime(path, (0, 0))


@pytest.fixture
def of_a_killed_process(tmp_path: Path, clone: Path) -> Path:
    """The log directory in which a process was killed long ago."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_WAIT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=clone,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"\n"
        age(tmp_path)
        assert remove_unfinished(tmp_path) == 0, "it is alive"
        writer.send_signal(signal.SIGKILL)
    assert names(tmp_path) == ["killed.part"]
    return tmp_path


def test_a_file_goes_once_its_process_was_killed_and_that_of_a_living_one_stays(
    of_a_killed_process: Path,
) -> None:
    root = of_a_killed_process
    mine = begun(root, "mine")
    age(root)
    assert remove_unfinished(root) == 1
    assert names(root) == ["mine.part"]
    assert mine.finish() == 1
    (path,) = root.rglob("*.parquet")
    assert parquet.read_table(path).to_pydict() == {"at": [1.0]}
    assert remove_unfinished(root) == 0
    assert names(root) == ["mine.parquet"]


def test_a_file_that_was_written_just_now_stays(of_a_killed_process: Path) -> None:
    (path,) = of_a_killed_process.rglob(f"*{PART}")
    path.touch()
    assert remove_unfinished(of_a_killed_process) == 0
    assert names(of_a_killed_process) == ["killed.part"]


def test_a_log_that_starts_removes_what_a_killed_process_left(of_a_killed_process: Path) -> None:
    log = open_log(
        of_a_killed_process,
        Sample(1),
        unique="x",
        most_candidates=1,
        rotate_bytes=1,
        rotate_s=1,
        count=lambda *_: None,
    )
    log.start()
    log.close()
    assert names(of_a_killed_process) == []


def test_a_directory_that_does_not_exist_holds_none(tmp_path: Path) -> None:
    assert remove_unfinished(tmp_path / "none") == 0
