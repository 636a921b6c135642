"""Which content of a stored record was used: a number of its bytes, the same in every process."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

NO_RECORD = 0


def record_version(record: bytes | None) -> int:
    """The first 8 bytes of BLAKE2b as a signed number; `NO_RECORD` where the store has none."""
    if record is None:
        return NO_RECORD
    return int.from_bytes(blake2b(record, digest_size=8).digest(), "big", signed=True)


def record_versions(records: Sequence[bytes | None]) -> NDArray[np.int64]:
    return np.fromiter(map(record_version, records), np.int64, len(records))
