"""What `item.onnx` gave for an item, kept in one array until the item changes or time is up.

One cache for each loaded model. Its array is allocated once, memory is used as it fills. Items that
come with their features are kept beside the others, by content: of them nothing becomes stale.
"""

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.encode import Array, Column
from service.contract.features import FeatureSchema, Lookup
from service.scoring.contents import CONTENTS, Repeats
from service.scoring.graphs import Part
from service.scoring.item_index import ABSENT, Slots
from service.scoring.item_slots import ItemSlots, Lease

_TTL_SPREAD = 0.2  # items kept together do not all expire together
_INDEX_BYTES = 96  # of the index a slot: 64 to 128, as it is rounded up to a power of two
_RAW_BYTES = 512  # allowance for an item's raw values, where lookups need them
# Share of a request's candidates that are kept by content: at most 1.5 % of its time. Those left
# come again.
_MOST_CONTENTS = 1 / 8

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


class ItemCache:
    """Slots of item parts, attributes and raw values. Any thread may call it.

    Args:
        schema: says which attributes and raw values are kept beside the part.
        width, dtype: P of the parts, and what their numbers are.
        max_bytes: how large the array may grow; the longest unused items make room.
        ttl_s: how long an item is kept at most.
        clock: monotonic seconds.
        listener: hears of every record that an item was computed from.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        width: int,
        dtype: str = "float32",
        *,
        max_bytes: int,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
        listener: Listener | None = None,
    ) -> None:
        self.attribute_names = tuple(a.name for a in schema.attributes)
        self.raw_names = _raw_names(schema)
        self.category_names = tuple(schema.item_categories)
        self.slot_bytes = np.dtype(dtype).itemsize * width + 8 * len(self.attribute_names) + 3 * 8
        self.slot_bytes += 4 * len(self.category_names) + _INDEX_BYTES + Repeats.bytes_a_slot
        self.slot_bytes += _RAW_BYTES * bool(self.raw_names)
        self.slots = max_bytes // self.slot_bytes
        self._ttl_s = ttl_s
        self._parts = np.empty((self.slots, width), dtype)
        self._attributes = np.empty((self.slots, len(self.attribute_names)))
        self._categories = np.empty((self.slots, len(self.category_names)), np.int32)
        self._raw: list[Raw] = [()] * (self.slots if self.raw_names else 0)
        self._listener = listener
        self._versions = np.zeros(self.slots if listener is not None else 0, np.int64)
        self._slots = ItemSlots(self.slots, clock)
        self._repeats = Repeats(self.slots)

    @property
    def bytes(self) -> int:
        """Memory in use."""
        return self._slots.in_use * self.slot_bytes

    def used_at(self, scene: str) -> dict[str, float]:
        """When each id was last used; some of them perhaps too old. Those used last come first."""
        return self._slots.used_at(scene)

    def look_up(self, scene: str, ids: Sequence[str]) -> Lease:
        """Find items; what is found can be taken for as long as a request may last."""
        return self._slots.look_up(scene, ids)

    def look_up_contents(self, keys: NDArray[np.int64]) -> Lease:
        """Find items by `contents.contents`, of which only parts are kept."""
        return self._slots.look_up(CONTENTS, keys)

    def parts(self, lease: Lease, fresh: Part | None) -> tuple[Part, Slots]:
        """A table (any, P) of parts, and the row of each candidate in it, (N,).

        `fresh` (M, P) are those of the M missing. The rows stay what they are until `check`.
        """
        if fresh is None:
            return self._parts, lease.slots
        if len(fresh) < len(lease.slots):
            some = self._parts.take(lease.slots, axis=0, mode="clip")
            some[lease.missing] = fresh
            fresh = some
        return fresh, np.arange(len(fresh))

    def check(self, lease: Lease) -> None:
        """After reading what `look_up` found: it was there until now.

        Raises:
            RunFailed: a slot was given away in between: the request took longer than any may.
        """
        self._slots.check(lease)

    def attributes(
        self, lease: Lease, fresh: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        """Attribute -> (N,), `fresh` for the missing ones; raises what `check` raises."""
        if not self.attribute_names:
            return {}
        columns = {}
        for at, name in enumerate(self.attribute_names):
            column = self._attributes[:, at].take(lease.slots, mode="clip")
            if len(lease.missing):
                column[lease.missing] = fresh[name]
            columns[name] = column
        self._slots.check(lease)
        return columns

    def raw(self, lease: Lease, fresh: Mapping[str, Column]) -> dict[str, Column]:
        """Raw name -> N values, `fresh` for the missing ones; raises what `check` raises."""
        if not self.raw_names:
            return {}
        nothing = (None,) * len(self.raw_names)
        found = [nothing if slot == ABSENT else self._raw[slot] for slot in lease.slots.tolist()]
        self._slots.check(lease)
        columns: dict[str, Column] = {}
        for at, name in enumerate(self.raw_names):
            columns[name] = column = [raw[at] for raw in found]
            for row, value in zip(lease.missing.tolist(), fresh[name], strict=True):
                column[row] = value
        return columns

    def categories(self, lease: Lease, fresh: NDArray[np.int32]) -> dict[str, NDArray[np.int32]]:
        """Category -> (N,) encoded ids, `fresh` (M, C) for the missing ones; see `check`."""
        ids = self._categories.take(lease.slots, axis=0, mode="clip")
        ids[lease.missing] = fresh
        self._slots.check(lease)
        return dict(zip(self.category_names, ids.T, strict=True))

    @property
    def has_listener(self) -> bool:
        return self._listener is not None

    def tell(self, records: ItemRecords | None) -> None:
        """Let the listener hear what items were computed from."""
        if self._listener is not None and records is not None:
            self._listener(records)

    def versions(self, lease: Lease, fresh: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,) versions of the records behind the items, `fresh` of the missing ones; see `check`.

        Only where there is a listener.
        """
        versions = self._versions.take(lease.slots, mode="clip")
        versions[lease.missing] = fresh
        self._slots.check(lease)
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
        with self._slots.room(len(chosen)) as room:
            slots = room.slots
            chosen = chosen[: len(slots)]
            self._parts[slots] = items.part[chosen]
            for at, name in enumerate(self.attribute_names):
                self._attributes[slots, at] = items.attributes[name][chosen]
            if items.versions is not None:
                self._versions[slots] = items.versions[chosen]
            self._categories[slots] = items.categories[chosen]
            if self.raw_names:
                columns = [items.raw[name] for name in self.raw_names]
                for slot, row in zip(slots.tolist(), chosen.tolist(), strict=True):
                    self._raw[slot] = tuple(column[row] for column in columns)
            ttl_s = self._ttl_s * (1 - _TTL_SPREAD * random.random())
            self._slots.own(lease, lease.missing[chosen].tolist(), room, ttl_s, used_at)

    def keep_contents(self, lease: Lease, part: Part) -> None:
        """Keep of the missing ones' parts, (M, P), those that come again: a few a request."""
        assert isinstance(lease.ids, np.ndarray), "contents are looked up by number"
        keys = lease.ids[lease.missing]
        (again,) = self._repeats.again(keys).nonzero()
        if not len(again):
            return
        _, once = np.unique(keys[again], return_index=True)  # one may come twice in the request
        chosen = again[once][: math.ceil(len(lease.ids) * _MOST_CONTENTS)]
        with self._slots.room(len(chosen)) as room:
            chosen = chosen[: len(room.slots)]
            self._parts[room.slots] = part[chosen]
            # what is the same for ever needs no end
            self._slots.own(lease, lease.missing[chosen].tolist(), room, math.inf)

    def forget(self, scene: str, ids: Iterable[str]) -> None:
        """These items changed."""
        self._slots.forget(scene, ids)

    def forget_all(self) -> None:
        """Any item may have changed."""
        self._slots.forget_all()


def _raw_names(schema: FeatureSchema) -> tuple[str, ...]:
    """Raw item values that lookups of a pair read."""
    names = set()
    for feature in schema.features:
        if isinstance(feature, Lookup):
            names |= {feature.key} if feature.key_side == "item" else set()
            names |= {feature.source} if feature.source_side == "item" else set()
    return tuple(sorted(names))
