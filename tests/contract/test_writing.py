"""What a killed publisher leaves behind is removed; what one still writes is not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.contract.repository import Repository
from tests.contract.manifests import make_manifest

PUBLISHER = """
import sys
from pathlib import Path
from service.contract.repository import Repository

def write(directory, version):
    (directory / "model.onnx").write_bytes(b"half")
    print(directory.name, flush=True)
    sys.stdin.readline()
    (directory / "manifest.json").write_text(sys.argv[2])

Repository(Path(sys.argv[1])).publish("tiny", write)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


@contextmanager
def publisher(repository: Repository) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that is half done with tiny/1 until it hears a line, and its draft's name."""
    manifest = make_manifest(version=1).to_json()
    with subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(repository.root), manifest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


def drafts(repository: Repository) -> set[str]:
    return {path.name for path in (repository.root / "tiny").glob(".draft-*")}


def publish(repository: Repository, name: str = "tiny") -> set[str]:
    """Publish, and see which drafts of others there were of tiny meanwhile."""
    seen: set[str] = set()

    def write(directory: Path, version: int) -> None:
        seen.update(drafts(repository) - {directory.name})
        (directory / "manifest.json").write_text(make_manifest(name, version).to_json())

    repository.publish(name, write)
    return seen


def test_what_a_killed_publisher_wrote_is_removed_by_the_next_of_its_model(
    repository: Repository,
) -> None:
    with publisher(repository) as (killed, draft):
        killed.kill()
    assert publish(repository, "other") == {draft}
    assert publish(repository) == set()
    assert [path.name for path in (repository.root / "tiny").iterdir()] == ["1"]


def test_what_another_process_still_writes_is_left_to_it(repository: Repository) -> None:
    with publisher(repository) as (other, draft):
        (repository.root / "tiny" / f".draft-{os.uname().nodename}-left").mkdir()
        assert publish(repository) == {draft}
        other.communicate("go on\n", timeout=20)
        assert other.returncode == 0
    assert drafts(repository) == set()
    assert (repository.root / "tiny/2/model.onnx").read_bytes() == b"half"


def test_what_another_host_may_still_write_is_left_to_it(repository: Repository) -> None:
    elsewhere = repository.root / "tiny" / ".draft-elsewhere-1"
    elsewhere.mkdir(parents=True)  # locks of one host need not hold on another
    publish(repository)
    assert elsewhere.is_dir()
