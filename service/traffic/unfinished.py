"""Remove the unfinished log files of processes that were killed."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from service.traffic.layout import ITEMS, REQUESTS
from service.traffic.parquet_file import PART

_STALE_S = 3600.0  # younger ones may not be locked yet, or not renamed yet


def remove_unfinished(directory: Path) -> int:
    """Remove those that no living process writes, whichever it was; how many these were.

    Several processes may log to one directory.
    """
    paths = [p for kind in (REQUESTS, ITEMS) for p in directory.glob(f"*/*/*/{kind}-*{PART}")]
    return sum(map(_is_removed, paths))


def _is_removed(path: Path) -> bool:
    with suppress(OSError), path.open("r+b") as file:  # it may be another's, or have gone
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only now: until a moment ago its writer may have been finishing it.
        if time.time() - os.fstat(file.fileno()).st_mtime > _STALE_S:
            path.unlink()
            return True
    return False
