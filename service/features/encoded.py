"""Encode one request: a bad value of the store takes the default, one of the caller is refused."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from service.contract.encode import Array, Counts, encode_request, numbers
from service.contract.errors import EncodeError
from service.contract.features import SIDES, FeatureSchema, Side
from service.features.errors import InlineError
from service.features.refused import Refused, refused_values
from service.features.resolve import RAW_SIDES, RawValues


@dataclass(frozen=True)
class Encoded:
    """Model inputs and formula inputs of one request of N candidates.

    `blocks`: input name -> (1, width) for user and context, (N, width) for item and cross.
    `attributes`: name -> (N,) float64. `raw`: what was encoded, bad stored values removed.
    `bad_features`: how many stored values (or entries of stored maps) were removed;
    `bad_items`: the rows of items that had one.
    """

    blocks: Mapping[str, Array]
    attributes: Mapping[str, NDArray[np.float64]]
    raw: RawValues
    counts: Counts = field(default_factory=Counts)
    bad_features: int = 0
    bad_items: frozenset[int] = frozenset()


def encode(schema: FeatureSchema, raw: RawValues, sides: Collection[Side] = SIDES) -> Encoded:
    """Encode, setting aside stored values that their features cannot take.

    Only the blocks of `sides` are made, and attributes only with the item side.

    Raises:
        InlineError: the request itself brought such a value; it names side, feature and row.
    """
    removed = 0
    bad_items: frozenset[int] = frozenset()
    while True:
        counts = Counts(unknown=raw.unknown.copy())
        try:
            blocks = encode_request(
                schema, raw.user, raw.context, raw.items, raw.rows, counts, sides
            )
            attributes = _attributes(schema, raw, counts) if "item" in sides else {}
        except EncodeError as err:
            raw, bad, rows = _without_bad(schema, raw, err)
            removed += bad
            bad_items |= rows
        else:
            return Encoded(blocks, attributes, raw, counts, removed, bad_items)


def _attributes(
    schema: FeatureSchema, raw: RawValues, counts: Counts
) -> dict[str, NDArray[np.float64]]:
    columns = {}
    for attribute in schema.attributes:
        # one that is a feature as well has been counted as such
        counted = None if attribute.name in schema.by_name else counts
        columns[attribute.name] = numbers(
            attribute.name, raw.items.get(attribute.name), attribute.default, raw.rows, counted
        )
    return columns


def _without_bad(
    schema: FeatureSchema, raw: RawValues, cause: EncodeError
) -> tuple[RawValues, int, frozenset[int]]:
    """`raw` without the refused stored values of the name in `cause`; how many; items' rows."""
    removed = 0
    items: frozenset[int] = frozenset()
    for side in RAW_SIDES:
        if cause.feature not in schema.raw_names[side]:
            continue
        refused = refused_values(schema, side, cause.feature, raw.values(side, cause.feature))
        for row, found in refused.items():
            if raw.is_inline(side, cause.feature, row):
                raise InlineError(side, found.cause, row) from cause
        if refused:
            raw = _replaced(raw, side, cause.feature, refused)
            removed += sum(found.count for found in refused.values())
            items |= frozenset(refused) if side == "item" else frozenset()
    if not removed:
        raise cause
    return raw, removed, items


def _replaced(raw: RawValues, side: Side, name: str, refused: Mapping[int, Refused]) -> RawValues:
    column = list(raw.values(side, name))
    for row, found in refused.items():
        column[row] = found.instead
    if side == "item":
        return replace(raw, items={**raw.items, name: column})
    if side == "user":
        return replace(raw, user={**raw.user, name: column[0]})
    return replace(raw, context={**raw.context, name: column[0]})
