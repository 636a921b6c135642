"""Which slot of an array holds an item: a hash table in NumPy, asked for hundreds of ids at once.

A dict is asked one id after the other, and each answer waits for several reads of memory that no
CPU cache holds any more; here the reads of all ids are under way together.
"""

import mmap
import os
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

ABSENT = -1
_EMPTY = 0  # a hash as rare as any other

_WIDTH = 8  # cells a bucket
_CELLS_A_SLOT = 4  # at least: then a bucket in 5,000 would hold more than it has cells

Slots = NDArray[np.int64]
Ids = Sequence[str] | Sequence[np.int64] | NDArray[np.int64]  # numbers are hashes already


class ItemIndex:
    """Scene and id -> slot, for at most `slots` items. Not for several threads at once.

    Items are told apart by the 64 bits of Python's own hash, which has another key in every
    process; the ids themselves are not compared. Two of 100,000 items meet with a chance of 3e-10;
    an item that is not here is taken for one that is once in 1e14 times.

    An item whose bucket is full takes the place of another, which is then absent.
    """

    def __init__(self, slots: int) -> None:
        buckets = 1 << max(_CELLS_A_SLOT * slots // _WIDTH, 1).bit_length()
        self._mask = buckets - 1
        self._hashes = _zeros(buckets)
        self._slots = _zeros(buckets)  # of an empty cell: whatever it is

    def find(self, scene: str, ids: Ids) -> Slots:
        """(N,) slots, ABSENT where there is none."""
        # Few calls of NumPy: between inferences each takes several times what it takes in a loop.
        hashes = _hashes(scene, ids)
        buckets = self._buckets(hashes)
        is_it = self._hashes.take(buckets, axis=0) == hashes[:, None]
        (cells,) = is_it.ravel().nonzero()
        found: Slots = self._slots.take(buckets, axis=0).ravel().take(cells)
        if len(found) == len(hashes):
            return found
        slots = np.full(len(hashes), ABSENT)
        slots[cells // _WIDTH] = found
        return slots

    def put(self, scene: str, ids: Ids, slots: Slots) -> Slots:
        """Give items their slots; the slots that nobody has any more."""
        hashes = _hashes(scene, ids)
        lost: list[Slots] = []
        while len(hashes):
            cells = self._cells(hashes)
            buckets = self._buckets(hashes)
            free = self._hashes[buckets] == _EMPTY
            other = np.where(free.any(1), free.argmax(1), (hashes >> 32) % _WIDTH)
            known = self._hashes.take(cells) == hashes
            cells = np.where(known, cells, buckets * _WIDTH + other)
            _, now = np.unique(cells, return_index=True)  # of several for one cell, one at a time
            taken = cells[now]
            had: Slots = self._slots.take(taken)
            lost.append(had[self._hashes.take(taken) != _EMPTY])
            # not ndarray.put, which copies the whole table in case an index is out of bounds
            self._hashes.reshape(-1)[taken] = hashes[now]
            self._slots.reshape(-1)[taken] = slots[now]
            later = np.ones(len(hashes), bool)
            later[now] = False
            hashes, slots = hashes[later], slots[later]
        return np.concatenate(lost or [slots])

    def drop(self, scene: str, ids: Ids) -> Slots:
        """Forget items; the slots they had."""
        hashes = _hashes(scene, ids)
        cells = self._cells(hashes)
        cells = cells[self._hashes.take(cells) == hashes]
        had: Slots = self._slots.take(cells)
        self._hashes.reshape(-1)[cells] = _EMPTY
        return had

    def clear(self) -> None:
        """Forget all."""
        self._hashes = _zeros(len(self._hashes))  # at once, however large

    def _cells(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The cell of each hash, or some cell of its bucket."""
        buckets = self._buckets(hashes)
        at = (self._hashes.take(buckets, axis=0) == hashes[:, None]).argmax(1)
        cells: NDArray[np.int64] = buckets * _WIDTH + at
        return cells

    def _buckets(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        return hashes & self._mask


def _zeros(buckets: int) -> NDArray[np.int64]:
    """(buckets, _WIDTH), in small pages that are there once they are written to.

    NumPy asks for huge ones: five items first put into a table of 134 MB waited 20 ms for them.
    """
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}
    memory = mmap.mmap(-1, buckets * _WIDTH * 8, **private)
    with suppress(OSError, AttributeError):  # a kernel without huge pages, or another system
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.int64).reshape(buckets, _WIDTH)


def _hashes(scene: str, ids: Ids) -> NDArray[np.int64]:
    key = hash((scene,))  # not hash(scene): an item may be named like its scene
    if len(ids) and isinstance(ids[0], np.int64):
        return np.asarray(ids, np.int64) ^ key
    return np.fromiter(map(hash, ids), np.int64, len(ids)) ^ key
