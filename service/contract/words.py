"""Short strings -> ids in one vectorised pass: strings as 64-bit words, vocabularies as one table.

A dictionary follows four pointers to each id, to places that are cold in a service's caches; here
the id lies beside its word. A word is a string's UTF-8, at most 8 bytes, padded with zeros: exact,
because NUL, which ends strings here, is in none of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

_BYTES = 8
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(_BYTES + 1)], np.uint64)  # by length
_NO_WORD = _MASKS[_BYTES]  # UTF-8 has no byte 255
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: the top bits of a product are mixed
_SLOTS = 2  # a word, at least; more is quicker and larger

Words = NDArray[np.uint64]


class WordTable:
    """Vocabularies end to end, each an open-addressing table in which collisions take later slots.

    Only of features all of whose words are short: what is not found is out of vocabulary.
    """

    def __init__(
        self, words: Words, ids: NDArray[np.int32], parts: Mapping[str, tuple[int, int]]
    ) -> None:
        self._words = words
        self._ids = ids  # 0 where there is no word
        self._parts = parts  # feature -> first slot, bits of a word's product that are not used

    @classmethod
    def of(cls, vocabularies: Mapping[str, Mapping[str, int] | int]) -> Self:
        """The table of those that are not hashed and have short words only."""
        words, ids = [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
        parts: dict[str, tuple[int, int]] = {}
        laid: dict[int, tuple[int, int]] = {}  # by identity: features share vocabularies
        at = 0
        for name, vocabulary in vocabularies.items():
            if isinstance(vocabulary, int):
                continue
            if id(vocabulary) not in laid:
                found = words_of(vocabulary)
                if len(found) != len(vocabulary) or (found == _NO_WORD).any():
                    continue  # nothing listed, a NUL, or a long word
                slots, unused = _slots(found)
                size = max(1 << 64 - unused, int(slots.max()) + 1) + 1  # one ends every search
                words.append(np.full(size, _NO_WORD))
                ids.append(np.zeros(size, np.int32))
                words[-1][slots] = found
                ids[-1][slots] = np.fromiter(vocabulary.values(), np.int32, len(vocabulary))
                laid[id(vocabulary)] = at, unused
                at += size
            parts[name] = laid[id(vocabulary)]
        return cls(np.concatenate(words), np.concatenate(ids), parts)

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    @property
    def nbytes(self) -> int:
        return self._words.nbytes + self._ids.nbytes

    def find(self, names: Sequence[str], words: Words) -> NDArray[np.int32]:
        """Ids (N,) of F features' words (N,), one feature's after the other's; 0: not found."""
        parts = np.array([self._parts[name] for name in names], np.uint64)
        first, unused = parts[:, :1], parts[:, 1:]
        hashed = (words * _SPREAD).reshape(len(names), -1)
        slots = ((hashed >> unused) + first).ravel().astype(np.intp)
        there = self._words[slots]
        ids = self._ids[slots]
        others = np.flatnonzero(there != words)
        ids[others] = 0
        others = others[there[others] != _NO_WORD]
        while len(others):
            slots[others] += 1
            there = self._words[slots[others]]
            same = there == words[others]
            ids[others[same]] = self._ids[slots[others[same]]]
            others = others[~same & (there != _NO_WORD)]
        return ids


def words_of(strings: Iterable[str]) -> Words:
    """Each string's word, that of no string for a long one; one with NULs is several strings."""
    read = "\0".join(strings).encode(errors="surrogatepass") + b"\0" * _BYTES
    places = len(read) - _BYTES + 1
    ends = np.flatnonzero(np.frombuffer(read, np.uint8, places) == 0)
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts
    at_every_place = np.ndarray((places,), "<u8", read, strides=(1,))
    words: Words = at_every_place[starts] & _MASKS[np.minimum(lengths, _BYTES)]
    if lengths.max() > _BYTES:
        words[lengths > _BYTES] = _NO_WORD
    return words


def _slots(words: Words) -> tuple[NDArray[np.intp], int]:
    """A slot for each word, and how many bits of its product are not used."""
    unused = 64 - (_SLOTS * len(words) - 1).bit_length()
    slots = ((words * _SPREAD) >> np.uint64(unused)).astype(np.intp)
    table = np.full(len(words) + (1 << 64 - unused), _NO_WORD)
    homeless = np.arange(len(words))
    while len(homeless):
        free = homeless[table[slots[homeless]] == _NO_WORD]
        table[slots[free]] = words[free]  # of several, one stays
        homeless = homeless[table[slots[homeless]] != words[homeless]]
        slots[homeless] += 1
    return slots, unused
