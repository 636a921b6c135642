"""Who holds which slot of an item cache: found, given out, and taken from the longest unused."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from service.scoring.errors import RunFailed
from service.scoring.item_index import ABSENT, Ids, ItemIndex, Slots

# A slot that a request found is not given away while the request may still read it: longer than
# any deadline (5 s).
_GUARD_S = 10.0
_WRITTEN_TO = math.inf  # when such a slot was used last: it is never the longest unused
_GIVEN_BACK = -math.inf  # when such a slot was used last: it is the next to be given away
_WINDOW = 1024  # least number of slots among which the longest unused are given away


@dataclass(eq=False)
class Lease:
    """Which candidates of a request are kept, and where. `missing`: rows of the others."""

    scene: str
    ids: Ids
    slots: Slots  # (N,), -1 where missing
    missing: NDArray[np.intp]
    found_at: float
    changed: set[str] = field(default_factory=set)  # ids that changed since
    all_changed: bool = False

    @property
    def missing_ids(self) -> list[Any]:
        return [self.ids[row] for row in self.missing.tolist()]

    @property
    def found(self) -> int:
        return len(self.ids) - len(self.missing)


@dataclass(eq=False)
class Room:
    """Slots to write to."""

    slots: Slots
    is_owned: bool = False


class ItemSlots:
    """`count` slots, each held by one item of one scene, or by none. Any thread may call it.

    `clock`: monotonic seconds.
    """

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.count, self._clock = count, clock
        self._owner: list[tuple[str, Any] | None] = []  # scene and id; None: replaced or forgotten
        # Side by side: a slot's two instants are one read of memory that no CPU cache holds. The
        # last row is that of ABSENT, expired for ever.
        self._expires_at, self._used_at = np.zeros((count + 1, 2)).T
        self._index = ItemIndex(count)
        self._hand = 0
        self._leases: WeakSet[Lease] = WeakSet()
        self._lock = threading.Lock()

    @property
    def in_use(self) -> int:
        """Slots that were ever given out."""
        return len(self._owner)

    def used_at(self, scene: str) -> dict[str, float]:
        """When each id was last used; some of them perhaps too old. Those used last come first."""
        with self._lock:  # not for longer: requests wait for it
            owners = self._owner.copy()
            used_at = self._used_at[: len(owners)].copy()
        slots = np.argsort(-used_at, kind="stable").tolist()
        return {
            owner[1]: float(used_at[slot])
            for slot in slots
            if (owner := owners[slot]) and owner[0] == scene
        }

    def look_up(self, scene: str, ids: Ids) -> Lease:
        """Find items; what is found can be taken for as long as a request may last."""
        with self._lock:
            now = self._clock()  # not before: who stood still then would make a slot look unused
            slots = self._index.find(scene, ids)
            # not take, which copies a whole column first
            (missing,) = (self._expires_at[slots] <= now).nonzero()
            slots[missing] = ABSENT
            self._used_at[slots] = now
            lease = Lease(scene, ids, slots, missing, now)
            self._leases.add(lease)
        return lease

    def check(self, lease: Lease) -> None:
        """After reading what `look_up` found: none of the slots was given away until now.

        Raises:
            RunFailed: one may have been: the request took longer than any may.
        """
        if self._clock() > lease.found_at + _GUARD_S:
            raise RunFailed("an item may have left the cache while its request was being ranked")

    @contextmanager
    def room(self, count: int) -> Iterator[Room]:
        """At most `count` slots to write to; fewer when the others are in use.

        Nobody else is given them, nor finds anything in them, until `own` has them, however long
        that takes: a process may stand still in between. Who leaves without that gives them back.
        """
        room = Room(self._given_out(count))
        try:
            yield room
        finally:
            if not room.is_owned:  # else they may be another writer's by now
                with self._lock:
                    self._used_at[room.slots] = _GIVEN_BACK

    def own(
        self,
        lease: Lease,
        rows: Sequence[int],
        room: Room,
        for_s: float,
        used_at: Mapping[Any, float] | None = None,
    ) -> None:
        """The candidates `rows` of a lease own the slots of a room now, for `for_s` seconds.

        Not those that changed since `look_up`. They count as used now, or at the instants `used_at`
        by id.
        """
        with self._lock:
            now = self._clock()
            kept: dict[int, Any] = {
                slot: id_
                for slot, row in zip(room.slots.tolist(), rows, strict=True)
                if not lease.all_changed and (id_ := lease.ids[row]) not in lease.changed
            }
            put, ids = np.array(list(kept), np.int64), list(kept.values())
            since = now if used_at is None else [used_at[id_] for id_ in ids]
            room.is_owned = True  # nothing from here on can fail
            self._expires_at[room.slots], self._used_at[room.slots] = now + for_s, now
            self._used_at[put] = since
            for slot, id_ in kept.items():
                self._owner[slot] = (lease.scene, id_)
            self._release(self._index.put(lease.scene, ids, put))

    def forget(self, scene: str, ids: Iterable[str]) -> None:
        """These items changed."""
        changed = set(ids)
        with self._lock:
            self._release(self._index.drop(scene, list(changed)))
            for lease in self._leases:
                if lease.scene == scene:
                    lease.changed |= changed

    def forget_all(self) -> None:
        """Any item may have changed."""
        with self._lock:
            self._index.clear()
            self._owner = [None] * len(self._owner)
            for lease in self._leases:
                lease.all_changed = True

    def _given_out(self, count: int) -> Slots:
        with self._lock:
            now, filled = self._clock(), len(self._owner)
            new = min(count, self.count - filled)
            self._owner += [None] * new
            found = np.arange(filled, filled + new)
            self._used_at[found] = _WRITTEN_TO
            if new < count and self.count:
                found = np.concatenate([found, self._taken_away(count - new, now)])
            return found

    def _taken_away(self, count: int, now: float) -> Slots:
        """At most `count` slots of those that were not used for longest."""
        size = min(self.count, max(_WINDOW, 4 * count))
        window = (self._hand + np.arange(size)) % self.count
        self._hand = int(self._hand + size) % self.count
        idle = window[self._used_at[window] < now - _GUARD_S]
        longest: Slots = idle[np.argsort(self._used_at[idle], kind="stable")[:count]]
        owners = [self._owner[slot] for slot in longest.tolist()]
        for scene in {owner[0] for owner in owners if owner}:
            ids = [owner[1] for owner in owners if owner and owner[0] == scene]
            self._release(self._index.drop(scene, ids))
        self._used_at[longest] = _WRITTEN_TO
        return longest

    def _release(self, slots: Slots) -> None:
        for slot in slots.tolist():
            self._owner[slot] = None  # what it holds stays for those who found it before
