"""What `item.onnx` gave for an item, kept in one array until the item changes or time is up.

One cache for each loaded model. Its array is allocated once, memory is used as it fills.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from service.contract.encode import Array, Column
from service.contract.features import FeatureSchema, Lookup
from service.scoring.errors import RunFailed
from service.scoring.graphs import Part
from service.scoring.item_index import ABSENT, ItemIndex

# A slot that a request found is not given away while the request may still read it: longer than
# any deadline (5 s).
_GUARD_S = 10.0
_WINDOW = 1024  # least number of slots among which the longest unused are given away
_TTL_SPREAD = 0.2  # items kept together do not all expire together
_INDEX_BYTES = 96  # of the index a slot: 64 to 128, as it is rounded up to a power of two
_RAW_BYTES = 512  # allowance for an item's raw values, where lookups need them

Raw = tuple[Any, ...]  # of one item: the values of `ItemCache.raw_names`


@dataclass(frozen=True)
class Items:
    """What is known of N items without their user. `raw`: name -> one raw value an item.

    `categories`: (N, C) encoded ids of the schema's `item_categories`. `versions` of their records,
    where somebody listens.
    """

    part: Part
    attributes: Mapping[str, NDArray[np.float64]]
    raw: Mapping[str, Column]
    categories: NDArray[np.int32]
    versions: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class ItemRecords:
    """Stored records of N items that were not kept, their versions, and what became of them."""

    scene: str
    ids: Sequence[str]
    records: Sequence[bytes | None]
    versions: NDArray[np.int64]
    blocks: Mapping[str, Array]


Listener = Callable[[ItemRecords], None]  # called on any thread; must not take long


@dataclass(eq=False)
class Lease:
    """Which candidates of a request are kept, and where. `missing`: rows of the others."""

    scene: str
    ids: Sequence[str]
    slots: NDArray[np.int64]  # (N,), -1 where missing
    missing: NDArray[np.intp]
    found_at: float
    changed: set[str] = field(default_factory=set)  # ids that changed since
    all_changed: bool = False

    @property
    def missing_ids(self) -> list[str]:
        return [self.ids[row] for row in self.missing.tolist()]


class ItemCache:
    """Slots of item parts, attributes and raw values. Any thread may call it.

    Args:
        schema: says which attributes and raw values are kept beside the part.
        width: P of the parts.
        max_bytes: how large the array may grow; the longest unused items make room.
        ttl_s: how long an item is kept at most.
        clock: monotonic seconds.
        listener: hears of every record that an item was computed from.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        width: int,
        *,
        max_bytes: int,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
        listener: Listener | None = None,
    ) -> None:
        self.attribute_names = tuple(a.name for a in schema.attributes)
        self.raw_names = _raw_names(schema)
        self.category_names = tuple(schema.item_categories)
        self.slot_bytes = 4 * width + 8 * len(self.attribute_names) + 3 * 8
        self.slot_bytes += 4 * len(self.category_names) + _INDEX_BYTES
        self.slot_bytes += _RAW_BYTES * bool(self.raw_names)
        self.slots = max_bytes // self.slot_bytes
        self._ttl_s, self._clock = ttl_s, clock
        self._parts = np.empty((self.slots, width), np.float32)
        self._attributes = np.empty((self.slots, len(self.attribute_names)))
        self._categories = np.empty((self.slots, len(self.category_names)), np.int32)
        self._raw: list[Raw] = []
        self._listener = listener
        self._versions = np.zeros(self.slots if listener is not None else 0, np.int64)
        self._owner: list[tuple[str, str] | None] = []  # scene and id; None: replaced or forgotten
        # Side by side: a slot's two instants are one read of memory that no CPU cache holds. The
        # last row is that of ABSENT, expired for ever.
        self._expires_at, self._used_at = np.zeros((self.slots + 1, 2)).T
        self._index = ItemIndex(self.slots)
        self._hand = 0
        self._leases: WeakSet[Lease] = WeakSet()
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Memory in use."""
        return len(self._owner) * self.slot_bytes

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

    def look_up(self, scene: str, ids: Sequence[str]) -> Lease:
        """Find items; what is found can be taken for as long as a request may last."""
        now = self._clock()
        with self._lock:
            slots = self._index.find(scene, ids)
            # not take, which copies a whole column first
            (missing,) = (self._expires_at[slots] <= now).nonzero()
            slots[missing] = ABSENT
            self._used_at[slots] = now
            lease = Lease(scene, ids, slots, missing, now)
            self._leases.add(lease)
        return lease

    def parts(self, lease: Lease, fresh: Part | None, rows: int) -> Part:
        """(rows, P): what was kept, `fresh` (M, P) for the M missing; the last row is repeated.

        Raises:
            RunFailed: a slot was given away in between: the request took longer than any may.
        """
        slots = lease.slots
        if rows > len(slots):
            slots = np.concatenate([slots, np.repeat(slots[-1:], rows - len(slots))])
        out = np.empty((rows, self._parts.shape[1]), np.float32)
        np.take(self._parts, slots, axis=0, out=out, mode="clip")
        if fresh is not None:
            out[lease.missing] = fresh
            out[len(lease.slots) :] = out[len(lease.slots) - 1]
        self._check(lease)
        return out

    def attributes(
        self, lease: Lease, fresh: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        """Attribute -> (N,), `fresh` for the missing ones; see `parts`."""
        if not self.attribute_names:
            return {}
        columns = {}
        for at, name in enumerate(self.attribute_names):
            column = self._attributes[:, at].take(lease.slots, mode="clip")
            if len(lease.missing):
                column[lease.missing] = fresh[name]
            columns[name] = column
        self._check(lease)
        return columns

    def raw(self, lease: Lease, fresh: Mapping[str, Column]) -> dict[str, Column]:
        """Raw name -> N values, `fresh` for the missing ones; see `parts`."""
        if not self.raw_names:
            return {}
        nothing = (None,) * len(self.raw_names)
        found = [nothing if slot == ABSENT else self._raw[slot] for slot in lease.slots.tolist()]
        self._check(lease)
        columns: dict[str, Column] = {}
        for at, name in enumerate(self.raw_names):
            columns[name] = column = [raw[at] for raw in found]
            for row, value in zip(lease.missing.tolist(), fresh[name], strict=True):
                column[row] = value
        return columns

    def categories(self, lease: Lease, fresh: NDArray[np.int32]) -> dict[str, NDArray[np.int32]]:
        """Category -> (N,) encoded ids, `fresh` (M, C) for the missing ones; see `parts`."""
        ids = self._categories.take(lease.slots, axis=0, mode="clip")
        ids[lease.missing] = fresh
        self._check(lease)
        return dict(zip(self.category_names, ids.T, strict=True))

    @property
    def has_listener(self) -> bool:
        return self._listener is not None

    def tell(self, records: ItemRecords | None) -> None:
        """Let the listener hear what items were computed from."""
        if self._listener is not None and records is not None:
            self._listener(records)

    def versions(self, lease: Lease, fresh: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,) versions of the records behind the items, `fresh` of the missing ones; see `parts`.

        Only where there is a listener.
        """
        versions = self._versions.take(lease.slots, mode="clip")
        versions[lease.missing] = fresh
        self._check(lease)
        return versions

    def keep(
        self,
        lease: Lease,
        items: Items,
        rows: Iterable[int],
        used_at: Mapping[str, float] | None = None,
    ) -> None:
        """Keep the missing items at `rows` of `items`, unless they changed since `look_up`.

        They count as used now, or at the instants `used_at` by id.
        """
        chosen = np.array(sorted(rows), np.intp)
        with self._lock:
            slots = self._room(len(chosen))
        chosen = chosen[: len(slots)]
        self._parts[slots] = items.part[chosen]
        for at, name in enumerate(self.attribute_names):
            self._attributes[slots, at] = items.attributes[name][chosen]
        if items.versions is not None:
            self._versions[slots] = items.versions[chosen]
        self._categories[slots] = items.categories[chosen]
        columns = [items.raw[name] for name in self.raw_names]
        ttl_s = self._ttl_s * (1 - _TTL_SPREAD * random.random())
        with self._lock:
            self._expires_at[slots] = self._clock() + ttl_s
            ids: list[str] = []
            put: list[int] = []
            for slot, row in zip(slots.tolist(), chosen.tolist(), strict=True):
                id_ = lease.ids[lease.missing[row]]
                if lease.all_changed or id_ in lease.changed:
                    continue
                ids.append(id_)
                put.append(slot)
                self._owner[slot] = (lease.scene, id_)
                self._raw[slot] = tuple(column[row] for column in columns)
                # Only now: nobody else may have been given the slot while it was written to.
                if used_at is not None:
                    self._used_at[slot] = used_at[id_]
            self._release(self._index.put(lease.scene, ids, np.array(put, np.int64)))

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

    def _check(self, lease: Lease) -> None:
        """After reading: `_room` gave none of the slots away until now."""
        if self._clock() > lease.found_at + _GUARD_S:
            raise RunFailed("an item may have left the cache while its request was being ranked")

    def _room(self, count: int) -> NDArray[np.int64]:
        """At most `count` slots to write to; fewer when the others are in use."""
        now, filled = self._clock(), len(self._owner)
        new = min(count, self.slots - filled)
        self._owner += [None] * new
        self._raw += [()] * new
        found = np.arange(filled, filled + new)
        self._used_at[found] = now
        if new < count and self.slots:
            size = min(self.slots, max(_WINDOW, 4 * (count - new)))
            window = (self._hand + np.arange(size)) % self.slots
            self._hand = int(self._hand + size) % self.slots
            idle = window[self._used_at[window] < now - _GUARD_S]
            longest = idle[np.argsort(self._used_at[idle], kind="stable")[: count - new]]
            owners = [self._owner[slot] for slot in longest.tolist()]
            for scene in {owner[0] for owner in owners if owner}:
                ids = [owner[1] for owner in owners if owner and owner[0] == scene]
                self._release(self._index.drop(scene, ids))
            self._used_at[longest] = now
            found = np.concatenate([found, longest])
        return found

    def _release(self, slots: NDArray[np.int64]) -> None:
        for slot in slots.tolist():
            self._owner[slot] = None  # what it holds stays for those who found it before


def _raw_names(schema: FeatureSchema) -> tuple[str, ...]:
    """Raw item values that lookups of a pair read."""
    names = set()
    for feature in schema.features:
        if isinstance(feature, Lookup):
            names |= {feature.key} if feature.key_side == "item" else set()
            names |= {feature.source} if feature.source_side == "item" else set()
    return tuple(sorted(names))
