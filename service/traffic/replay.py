"""Recompute logged requests: encode the raw values again, byte for byte, and run the heads again.

What differs is named: block, feature, raw value, what was logged and what comes out now. A feature
that is encoded otherwise than it was, a vocabulary that lost an entry, a head beyond the tolerance:
each is skew between what trained, what served and what is on disk.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.features import SIDES, FeatureSchema, Lookup, Side
from service.features.encoded import Encoded, encode
from service.features.errors import InlineError
from service.features.resolve import Inline, RawValues, resolve
from service.features.store import Fetched
from service.traffic.logged import Item, Items, Logged

Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], Mapping[str, NDArray[np.float32]]]

_SHOWN = 60  # characters of a raw value
_EXAMPLES = 3
_PER_CANDIDATE: tuple[Side, ...] = ("item", "cross")


@dataclass(frozen=True)
class Example:
    """One value that differs."""

    request_id: str
    item_id: str | None
    raw: str
    logged: float
    now: float


@dataclass
class Difference:
    """What differs in one feature, attribute or head. `largest`: |difference| of heads."""

    what: str
    count: int = 0
    largest: float = 0.0
    examples: list[Example] = field(default_factory=list)


@dataclass
class Replay:
    """Replays requests of one model, and adds up what differs.

    Args:
        schema: of the package that is compared with.
        run: its heads for encoded blocks; None where it cannot be loaded.
        tolerance: of heads, relative beyond 1.
    """

    schema: FeatureSchema
    run: Run | None
    tolerance: float
    requests: int = 0
    candidates: int = 0
    unknown_items: int = 0  # candidates whose stored record is not in the log
    differences: dict[str, Difference] = field(default_factory=dict)

    def add(self, logged: Logged, items: Items) -> None:
        """Replay one request; candidates whose record the log lacks are counted and left out."""
        pairs = zip(logged.ids, logged.versions.tolist(), strict=True)
        found = [items.find(id_, version) for id_, version in pairs]
        rows = [row for row, item in enumerate(found) if item is not None]
        self.requests += 1
        self.candidates += len(rows)
        self.unknown_items += len(found) - len(rows)
        if not rows:
            return
        known = [item for item in found if item is not None]
        try:
            encoded = self._encode(logged, known, rows)
        except InlineError as err:
            self._note(f"the value of {err.feature!r} is refused now", logged, None, err.value)
            return
        self._compare_blocks(logged, known, rows, encoded)
        for name, values in encoded.attributes.items():
            if name in logged.attributes:
                self._compare(
                    f"attribute {name}", logged, rows, logged.attributes[name][rows], values
                )
        if self.run is not None:
            self._compare_heads(logged, rows, self.run(encoded.blocks))

    def _encode(self, logged: Logged, items: list[Item], rows: list[int]) -> Encoded:
        columns = {name: [of[row] for row in rows] for name, of in logged.item_columns.items()}
        ids = [logged.ids[row] for row in rows]
        inline = Inline(logged.user_id, ids, logged.user, logged.context, columns)
        records = Fetched(logged.user_record, [item.record for item in items]).read()
        return encode(self.schema, resolve(self.schema, inline, records))

    def _compare_blocks(
        self, logged: Logged, items: list[Item], rows: list[int], encoded: Encoded
    ) -> None:
        for name, (side, _, width) in self.schema.inputs.items():
            was = _logged_block(logged, items, rows, name, side)
            if was is None:
                continue  # the log does not say
            chosen, flat = was
            now = encoded.blocks[name][chosen]
            if flat.size != now.size:
                self._note(
                    f"{name}: {flat.size // max(len(now), 1)} columns are {width} now",
                    logged,
                    None,
                    None,
                )
                continue
            before = flat.reshape(now.shape)
            if before.tobytes() != now.tobytes():
                kept = rows if side in _PER_CANDIDATE else [0]
                self._name_columns(
                    name,
                    side,
                    logged,
                    [kept[r] for r in chosen],
                    (before, now),
                    encoded.raw,
                    chosen,
                )

    def _name_columns(
        self,
        block: str,
        side: Side,
        logged: Logged,
        rows: list[int],
        both: tuple[Array, Array],
        raw: RawValues,
        chosen: list[int],
    ) -> None:
        before, now = both
        bits = np.dtype(f"u{before.dtype.itemsize}")
        at_rows, at_columns = np.nonzero(before.view(bits) != now.view(bits))
        features = _columns_of(self.schema, block, side)
        for row, column in zip(at_rows.tolist(), at_columns.tolist(), strict=True):
            feature = features[column]
            item_id = logged.ids[rows[row]] if side in _PER_CANDIDATE else None
            value = _raw_value(self.schema, feature, side, raw, chosen[row])
            numbers = float(before[row, column]), float(now[row, column])
            self._note(f"feature {feature}", logged, item_id, value, *numbers)

    def _compare(
        self, what: str, logged: Logged, rows: list[int], before: Array, now: Array
    ) -> None:
        for row in np.flatnonzero(before != now).tolist():
            values = float(before[row]), float(now[row])
            self._note(what, logged, logged.ids[rows[row]], None, *values)

    def _compare_heads(
        self, logged: Logged, rows: list[int], heads: Mapping[str, NDArray[np.float32]]
    ) -> None:
        for name, values in logged.heads.items():
            if name not in heads:
                self._note(f"head {name} is gone", logged, None, None)
                continue
            before, now = values[rows].astype(np.float64), heads[name].astype(np.float64)
            gap = np.abs(before - now) / np.maximum(np.abs(before), 1.0)
            wrong = ~(gap <= self.tolerance) & ~(np.isnan(before) & np.isnan(now))
            for row in np.flatnonzero(wrong).tolist():
                found = self._note(
                    f"head {name}", logged, logged.ids[rows[row]], None, before[row], now[row]
                )
                found.largest = max(found.largest, float(np.nan_to_num(gap[row], nan=np.inf)))

    def _note(
        self,
        what: str,
        logged: Logged,
        item_id: str | None,
        raw: Any,
        before: float = np.nan,
        now: float = np.nan,
    ) -> Difference:
        found = self.differences.setdefault(what, Difference(what))
        found.count += 1
        if len(found.examples) < _EXAMPLES:
            shown = "" if raw is None else repr(raw)[:_SHOWN]
            found.examples.append(Example(logged.request_id, item_id, shown, before, now))
        return found


def _logged_block(
    logged: Logged, items: list[Item], rows: list[int], name: str, side: Side
) -> tuple[list[int], Array] | None:
    """Which of the encoded rows the log knows, and their values, flat."""
    if side not in _PER_CANDIDATE:
        return None if name not in logged.inputs else ([0], logged.inputs[name])
    if name in logged.inputs:
        block = logged.inputs[name].reshape(len(logged.ids), -1)
        return list(range(len(rows))), block[rows].reshape(-1)
    known = [at for at, item in enumerate(items) if name in item.blocks]
    if side != "item" or not known:
        return None
    return known, np.concatenate([items[at].blocks[name] for at in known])


def _columns_of(schema: FeatureSchema, block: str, side: Side) -> list[str]:
    """The feature of each column."""
    if block.endswith("_ids"):
        return [f.name for f in schema.id_features(side) for _ in range(f.ids)]
    return [f.name for f in schema.value_features(side) for _ in range(f.width)]


def _raw_value(schema: FeatureSchema, name: str, side: Side, raw: RawValues, row: int) -> Any:
    """What the feature is made from; of a lookup its key."""
    feature = schema.by_name[name]
    if isinstance(feature, Lookup):
        values = raw.values(feature.key_side, feature.key)
        return values[row if feature.key_side == "item" else 0]
    assert side in SIDES[:3], "only lookups are of pairs"
    return raw.values(side, name)[row if side == "item" else 0]
