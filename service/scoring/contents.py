"""Items told apart by what a model sees of them: the bytes of their encoded rows.

Equal rows have equal parts, bit for bit, so what is kept of one never becomes stale.
"""

import random
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.contract.encode import Array
from service.contract.features import FeatureSchema
from service.scoring.graphs import ITEM_SIDES

CONTENTS = "\0contents"  # where a cache has the names of scenes; no scene has this one
_WAYS = 4  # places for a mark
_MARKS_A_SLOT = 2  # at least: then most rows are known again after as many others as fit the cache


def contents(schema: FeatureSchema, blocks: Mapping[str, Array]) -> NDArray[np.int64]:
    """A hash of each item's row in all item blocks: Python's own, see `ItemIndex`."""
    items = [block for name, block in blocks.items() if schema.inputs[name][0] in ITEM_SIDES]
    rows = np.concatenate([block.view(np.uint8) for block in items], axis=1)
    hashes = map(hash, rows.view(f"V{rows.shape[1]}").ravel().tolist())
    return np.fromiter(hashes, np.int64, len(rows))


class Repeats:
    """Which contents come a second time: most that come only once would be kept for nobody.

    Remembers about as many as `slots`, the last ones. Several threads may call it: at worst one of
    them forgets what another marked.
    """

    bytes_a_slot = 4 * 2 * _MARKS_A_SLOT  # rounded up to a power of two

    def __init__(self, slots: int) -> None:
        rows = 1 << (_MARKS_A_SLOT * slots // _WAYS).bit_length()
        self._mask = rows - 1
        self._marks = np.zeros((rows, _WAYS), np.int32)

    def again(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each was seen before; from now on it was."""
        rows, marks = keys & self._mask, (keys >> 32).astype(np.int32)
        known: NDArray[np.bool_] = (self._marks.take(rows, axis=0) == marks[:, None]).any(1)
        # By chance, or those that come in turns would overwrite each other for ever.
        self._marks[rows, (marks + random.randrange(_WAYS)) % _WAYS] = marks
        return known
