"""Lend bytes to a library that only opens paths, without writing them to a disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_path(content: bytes) -> Iterator[str]:
    """A path that reads as `content` while the block lasts."""
    if not hasattr(os, "memfd_create"):  # not on macOS
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
        return
    descriptor = os.memfd_create("finerank", os.MFD_CLOEXEC)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
