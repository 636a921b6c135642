"""Write into a directory that others read: alone, synced, and leaving nothing half done behind."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_DRAFT = f".draft-{os.uname().nodename}-"  # locks on shared storage may hold on one host only


@contextmanager
def draft_in(parent: Path) -> Iterator[Path]:
    """A directory to write to, gone afterwards unless it was renamed.

    It is locked as long as its writer lives: those that no living writer has are removed first.
    """
    with ExitStack() as writing:
        with alone_in(parent):  # nobody meets a draft that is not locked yet
            for draft in parent.glob(f"{_DRAFT}*"):
                _remove_abandoned(draft)
            draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=parent))
            writing.enter_context(alone_in(draft))
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Wait for other writers of this directory, of this process or another."""
    with _opened(directory) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    with _opened(path) as descriptor:
        os.fsync(descriptor)


def _remove_abandoned(draft: Path) -> None:
    # OSError: its writer has it, has just renamed it, or is another user.
    with suppress(OSError), _opened(draft) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
