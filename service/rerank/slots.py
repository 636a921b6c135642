"""Fill the first places one after another under caps, a minimum of new items, and pins.

Greedy: each place takes the best item that no rule forbids there. Where every item is forbidden it
takes the one that will be allowed soonest. So a rule may remain unmet although an order exists that
meets it; what is unmet is counted on the finished order.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from service.rerank.rules import UNKNOWN, Cap, Ids

Rows = NDArray[np.intp]


def excess(cap: Cap, categories: Ids) -> int:
    """How many items of an order, given its categories, are one too many where they stand."""
    by_category = np.argsort(categories, kind="stable")
    later, earlier = by_category[cap.most :], by_category[: -cap.most]
    found = categories[later]
    alike = (found == categories[earlier]) & (found != UNKNOWN)
    return int((alike & (later - earlier < cap.window)).sum())


class _Category:
    """Where one category has been placed under one cap, and where pins will place it."""

    __slots__ = ("free_at", "most", "pinned", "places", "window")

    def __init__(self, most: int, window: int) -> None:
        self.most, self.window = most, window
        self.places: list[int] = []
        self.pinned: list[int] = []  # those still to come, ascending
        self.free_at = 0  # the next place it may have, later pins aside

    def take(self, place: int) -> None:
        self.places.append(place)
        if len(self.places) >= self.most:
            self.free_at = self.places[-self.most] + self.window

    def free_beside_pins(self, place: int) -> int:
        """The same from `place` on, so that no later pin becomes one too many."""
        for at, pin in enumerate(self.pinned):
            if place < pin < place + self.window:
                before = len(self.places) - bisect_left(self.places, pin - self.window + 1)
                if before + at + 2 > self.most:
                    return pin + 1
        return place


_Key = tuple[int, ...]  # the category of an item under each cap


class _Categories:
    """The categories of items, made when an item of them is first looked at."""

    def __init__(self, caps: Sequence[Cap], keys: Sequence[_Key]) -> None:
        self.keys = keys
        self._caps = caps
        self._known: dict[tuple[int, int], _Category] = {}
        self._of: dict[_Key, list[_Category]] = {}

    def of(self, key: _Key) -> list[_Category]:
        found = self._of.get(key)
        if found is None:
            self._of[key] = found = [
                self._known.setdefault((number, category), _Category(cap.most, cap.window))
                for number, (cap, category) in enumerate(zip(self._caps, key, strict=True))
                if category != UNKNOWN
            ]
        return found

    def pin(self, place: int, row: int) -> None:
        """`row` will stand at `place`; in ascending order of places."""
        for category in self.of(self.keys[row]):
            category.pinned.append(place)

    def unpin(self, place: int, row: int) -> None:
        for category in self.of(self.keys[row]):
            category.pinned.remove(place)

    def take(self, place: int, row: int) -> None:
        for category in self.of(self.keys[row]):
            category.take(place)

    def free_from(self, key: _Key, place: int) -> int:
        """The first place from `place` on that an item of this key may have, as it is known now."""
        free = place
        for category in self._of.get(key) or self.of(key):
            if category.free_at > free:
                free = category.free_at
            if category.pinned:
                free = max(free, category.free_beside_pins(place))
        return free


class _Stream:
    """Items, best first, as positions in the order before; those forbidden now wait by their key.

    Of each key that waits, only the best item is on a heap: `ready` when it may be allowed by now,
    `parked` with the place from which on it may be.
    """

    def __init__(self, rows: list[int], categories: _Categories) -> None:
        self._rows, self._at = rows, 0
        self._categories = categories
        self._waiting: dict[_Key, deque[int]] = {}
        self._ready: list[tuple[int, _Key]] = []
        self.parked: list[tuple[int, int, _Key]] = []

    def best(self, place: int) -> int | None:
        """The best item that may stand here."""
        ready, parked, categories = self._ready, self.parked, self._categories
        while parked and parked[0][0] <= place:
            _, row, key = heappop(parked)
            heappush(ready, (row, key))
        while ready or self._at < len(self._rows):
            unseen = self._rows[self._at] if self._at < len(self._rows) else None
            if ready and (unseen is None or ready[0][0] < unseen):
                row, key = ready[0]
                free = categories.free_from(key, place)
                if free <= place:
                    return row
                heappop(ready)
                heappush(parked, (free, row, key))
                continue
            assert unseen is not None, "one of the two is there"
            key = categories.keys[unseen]
            if key in self._waiting:
                self._waiting[key].append(unseen)
            else:
                free = categories.free_from(key, place)
                if free <= place:
                    return unseen
                self._waiting[key] = deque([unseen])
                heappush(parked, (free, unseen, key))
            self._at += 1
        return None

    def take(self, row: int) -> None:
        """`row`, which `best` gave or is the first parked, is placed."""
        key = self._categories.keys[row]
        waiting = self._waiting.get(key)
        if waiting is None or waiting[0] != row:
            self._at += 1
            return
        if self._ready and self._ready[0][0] == row:
            heappop(self._ready)
        else:
            heappop(self.parked)
        waiting.popleft()
        if waiting:
            heappush(self._ready, (waiting[0], key))
        else:
            del self._waiting[key]


def fill(
    caps: Sequence[Cap],
    ids: Sequence[Ids],
    new: NDArray[np.bool_],
    least: int,
    first: int,
    pins: Mapping[int, int],
    places: int,
) -> Rows:
    """Positions of the order before, in the order after.

    Args:
        caps: rules.
        ids: (N,) categories of each cap, in the order before.
        new: (N,) items that count as new.
        least: so many new items belong into the `first` places.
        first: see `least`.
        pins: place (0-based) -> position of the item it is for.
        places: how many are filled by the rules, at most N; the items left follow as they were.
    """
    keys: list[_Key] = [()] * len(new)
    if ids:
        keys = list(zip(*(column.tolist() for column in ids), strict=True))
    categories = _Categories(caps, keys)
    for place, row in sorted(pins.items()):
        categories.pin(place, row)
    pinned = set(pins.values())
    kinds = (np.flatnonzero(kind).tolist() for kind in (~new, new))
    streams = [
        _Stream([row for row in rows if row not in pinned] if pinned else rows, categories)
        for rows in kinds
    ]
    early = [row for place, row in pins.items() if place < first]
    lacking = least - sum(bool(new[row]) for row in early)
    open_places = first - len(early)
    after: list[int] = []
    for place in range(places):
        chosen = pins.get(place)
        if chosen is not None:
            categories.unpin(place, chosen)
        else:
            others, fresh = streams[0].best(place), streams[1].best(place)
            must = place < first and lacking >= open_places and fresh is not None
            chosen, stream = _better(None if must else others, fresh, streams)
            stream.take(chosen)
            if place < first:
                open_places -= 1
                lacking -= stream is streams[1]
        categories.take(place, chosen)
        after.append(chosen)
    return np.array(after, np.intp)


def _better(
    others: int | None, fresh: int | None, streams: Sequence[_Stream]
) -> tuple[int, _Stream]:
    """The better of two items with its stream; where none may stand, whichever may soonest."""
    if others is None and fresh is None:
        stream = min((s for s in streams if s.parked), key=lambda s: s.parked[0])
        return stream.parked[0][1], stream
    if fresh is None or (others is not None and others < fresh):
        assert others is not None, "one of the two is there"
        return others, streams[0]
    return fresh, streams[1]
