"""What `user.onnx` gave for a user in a context, kept by their encoded values.

Whoever scrolls asks again with the same features; then the largest weights that a request reads
once, for a single row, are not read at all.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Part = NDArray[np.float32]

_BYTES = 16 << 20  # of parts, in two halves


class UserParts:
    """Parts of one model, (1, P) each; any thread may call it.

    Nothing can be stale: the key is all that the graph reads. Two halves stand in for a list in
    order of use: what was asked for since the younger one was begun is in it; full, it becomes the
    older one, whose parts go.
    """

    def __init__(self, width: int, max_bytes: int = _BYTES) -> None:
        self._most = max(max_bytes // 2 // (width * 4), 1)
        self._young: dict[bytes, Part] = {}
        self._old: dict[bytes, Part] = {}

    def of(self, blocks: Mapping[str, NDArray[Any]], run: Callable[[], Part]) -> Part:
        """The part of these blocks, of one row each, as `run` gave it; nobody may write to it."""
        key = b"".join([block.tobytes() for block in blocks.values()])
        part = self._young.get(key)
        if part is not None:
            return part
        part = self._old.get(key)
        if part is None:
            part = run().copy()  # a view would keep the memory of all that its session ran
            part.flags.writeable = False
        if len(self._young) >= self._most:
            self._young, self._old = {}, self._young
        self._young[key] = part
        return part
