"""Fill places one after another under caps, a minimum of new items, and pins.

Greedy: each place takes the best item that no rule forbids there. Where every item is forbidden it
takes the one that will be allowed soonest. So a rule may remain unmet although an order exists that
meets it; what is unmet is counted on the finished order.
"""

from bisect import bisect_left
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from service.rerank.rules import UNKNOWN, Cap, Ids

Rows = NDArray[np.intp]


def excess(cap: Cap, categories: Ids) -> NDArray[np.intp]:
    """The places (0-based) of an order, given its categories, whose item is one too many."""
    by_category = np.argsort(categories, kind="stable")
    later, earlier = by_category[cap.most :], by_category[: -cap.most]
    if not len(later):
        return np.empty(0, np.intp)
    found = categories[later]
    alike = (found == categories[earlier]) & (found != UNKNOWN)
    return np.sort(later[alike & (later - earlier < cap.window)])


class _Placed:
    """The places that a category has had under one cap, and those it will have by pins."""

    __slots__ = ("most", "pinned", "places", "window")

    def __init__(self, most: int, window: int) -> None:
        self.most, self.window = most, window
        self.places: list[int] = []
        self.pinned: list[int] = []  # ascending

    def free_from(self, place: int) -> int:
        """The first place from `place` on that it may have, as far as is known now."""
        places = self.places
        if len(places) >= self.most and places[-self.most] > place - self.window:
            return places[-self.most] + self.window
        return self._beside_pins(place) if self.pinned else place

    def _beside_pins(self, place: int) -> int:
        """A later pin must not become one too many by what is placed here."""
        for at, pin in enumerate(self.pinned):
            if place < pin < place + self.window:
                before = len(self.places) - bisect_left(self.places, pin - self.window + 1)
                between = at + 1 - bisect_left(self.pinned, place)
                if before + between + 1 > self.most:
                    return pin + 1
        return place


class _Group:
    """Items that the rules cannot tell apart, best first, as positions in the order before."""

    __slots__ = ("at", "capped", "items")

    def __init__(self, capped: list[_Placed]) -> None:
        self.items: list[int] = []
        self.at = 0
        self.capped = capped

    @property
    def head(self) -> int:
        return self.items[self.at]

    def free_from(self, place: int) -> int:
        latest = place
        for placed in self.capped:
            latest = max(latest, placed.free_from(place))
        return latest


def fill(
    caps: Sequence[Cap],
    categories: Sequence[Ids],
    new: NDArray[np.bool_] | None,
    least: int,
    first: int,
    pins: dict[int, int],
) -> Rows:
    """Positions of the order before, in the order after.

    Args:
        caps: rules.
        categories: (N,) of each cap, in the order before.
        new: (N,) items that count as new; None without such a rule.
        least: so many new items belong into the `first` places.
        first: see `least`.
        pins: place (0-based) -> position of the item it is for.
    """
    rows = len(categories[0]) if categories else len(new) if new is not None else 0
    groups, group_of = _groups(caps, categories, new, rows, pins)
    fresh = [False] * rows if new is None else new.tolist()
    wanted = min(least, sum(fresh))
    lacking = wanted - sum(fresh[row] for place, row in pins.items() if place < first)
    ahead = sorted(place for place in pins if place < first)
    # heaps of (position of its best item, group): allowed now, and of (place, position, group)
    ready: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    parked: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]] = ([], [])
    for number, group in enumerate(groups):
        ready[fresh[group.items[0]]].append((group.items[0], number))
    for heap in ready:
        heapify(heap)
    after: list[int] = []
    open_places = first - len(ahead)

    def best(kind: int, place: int) -> int | None:
        """The group of a kind whose best item may stand here, on top of its heap."""
        waiting, heap = parked[kind], ready[kind]
        while waiting and waiting[0][0] <= place:
            _, row, number = heappop(waiting)
            heappush(heap, (row, number))
        while heap:
            row, number = heap[0]
            free = groups[number].free_from(place)
            if free <= place:
                return number
            heappop(heap)
            heappush(waiting, (free, row, number))
        return None

    def soonest() -> int:
        """The group that is allowed soonest, where none is."""
        return min(waiting[0] for waiting in parked if waiting)[2]

    for place in range(rows):
        row = pins.get(place)
        if row is not None:
            for placed in group_of[row].capped:
                placed.pinned.remove(place)
                placed.places.append(place)
            after.append(row)
            continue
        must = place < first and lacking >= open_places
        found = [n for kind in (0, 1) if (n := best(kind, place)) is not None]
        if must:  # before any other, but not against a cap
            found = [n for n in found if fresh[groups[n].head]] or found
        number = min(found, key=lambda n: groups[n].head) if found else soonest()
        group = groups[number]
        row = group.head
        kind = int(fresh[row])
        if found:
            heappop(ready[kind])
        else:
            heappop(parked[kind])
        group.at += 1
        if group.at < len(group.items):
            heappush(ready[kind], (group.head, number))
        for placed in group.capped:
            placed.places.append(place)
        after.append(row)
        if place < first:
            open_places -= 1
            lacking -= kind
    return np.array(after, np.intp)


def _groups(
    caps: Sequence[Cap],
    categories: Sequence[Ids],
    new: NDArray[np.bool_] | None,
    rows: int,
    pins: dict[int, int],
) -> tuple[list[_Group], dict[int, _Group]]:
    """Groups of the items that are not pinned, and the group of each pinned one."""
    kinds = np.zeros(rows, np.int8) if new is None else new
    keys = list(zip(*(c.tolist() for c in categories), kinds.tolist(), strict=True))
    placed: list[dict[int, _Placed]] = [{} for _ in caps]
    groups: dict[tuple[int, ...], _Group] = {}
    group_of: dict[int, _Group] = {}
    place_of = {row: place for place, row in pins.items()}
    for row, key in enumerate(keys):
        group = groups.get(key)
        if group is None:
            capped = [
                own.setdefault(category, _Placed(cap.most, cap.window))
                for cap, own, category in zip(caps, placed, key, strict=False)
                if category != UNKNOWN
            ]
            groups[key] = group = _Group(capped)
        if row in place_of:
            group_of[row] = group
            for slot in group.capped:
                slot.pinned.append(place_of[row])
                slot.pinned.sort()
        else:
            group.items.append(row)
    return [group for group in groups.values() if group.items], group_of
