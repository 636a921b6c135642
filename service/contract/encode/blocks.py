"""The blocks of a side, of one request, of a log: encoded column by column."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from service.contract.encode.columns import Array, Column, Columns, Counts, column_of
from service.contract.encode.ids import encode_ids
from service.contract.encode.lookups import joined, look_up
from service.contract.encode.numbers import numbers
from service.contract.features import SIDES, FeatureSchema, Lookup, Numeric, Side


def encode_rows(
    schema: FeatureSchema,
    columns: Mapping[Side, Columns],
    rows: int,
    counts: Counts | None = None,
) -> dict[str, Array]:
    """Encode impressions: all blocks have `rows` rows; lookups come joined, by their own names."""
    blocks: dict[str, Array] = {}
    for side in SIDES:
        blocks |= encode_side(schema, side, columns.get(side, {}), rows, counts)
    return blocks


def encode_request(
    schema: FeatureSchema,
    user: Mapping[str, Any],
    context: Mapping[str, Any],
    items: Columns,
    rows: int,
    counts: Counts | None = None,
    sides: Collection[Side] = SIDES,
) -> dict[str, Array]:
    """Encode one request: user and context blocks have one row, item and cross blocks `rows`.

    Only the blocks of `sides` are made. `user` and `context` hold one raw value a name, `items` one
    column a name. Lookups are resolved here from the maps that user and items carry.
    """
    raw: dict[str, Columns] = {
        "user": {n: (v,) for n, v in user.items()},
        "context": {n: (v,) for n, v in context.items()},
        "item": items,
    }
    blocks: dict[str, Array] = {}
    for side in SIDES:
        if side not in sides:
            continue
        wide = rows if side in ("item", "cross") else 1
        found: dict[str, Column] = {}
        for feature in schema.value_features(side):
            if isinstance(feature, Lookup):
                maps = raw[feature.source_side].get(feature.source, (None,))
                keys = raw[feature.key_side].get(feature.key, (None,))
                found[feature.name] = look_up(feature, maps, keys, wide)
        given = raw.get(side, {})
        blocks |= encode_side(schema, side, {**given, **found} if found else given, wide, counts)
    return blocks


def encode_side(
    schema: FeatureSchema,
    side: Side,
    columns: Columns,
    rows: int,
    counts: Counts | None = None,
) -> dict[str, Array]:
    """Encode the features of one side.

    Returns:
        `<side>_ids` (rows, K) int32 and `<side>_values` (rows, M) float32, C-ordered; a block of no
        columns is left out.

    Raises:
        EncodeError: a value its feature cannot take.
        ValueError: a column whose length is not `rows`.
    """
    counts = counts if counts is not None else Counts()
    for name in columns.keys() - schema.raw_names[side]:
        counts.unknown[name] += 1
    blocks: dict[str, Array] = {}
    if schema.ids_width(side):
        blocks[f"{side}_ids"] = encode_ids(schema, side, columns, rows, counts)
    if width := schema.values_width(side):
        values = np.empty((rows, width), np.float32)
        at = 0
        for feature in schema.value_features(side):
            column = column_of(columns, feature.name, rows)
            if isinstance(feature, Numeric):
                values[:, at] = numbers(feature.name, column, feature.default, rows, counts)
            else:
                values[:, at : at + feature.width] = joined(feature, column, rows)
            at += feature.width
        blocks[f"{side}_values"] = values
    return blocks
