"""The oracle of encoding: every value looked at alone, as encoding was written before it was quick.

What `service.contract.encode` gives, counts and refuses must be what this does, for any input.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from service.contract.encode import Array, Column, Columns, Counts
from service.contract.errors import EncodeError
from service.contract.features import (
    SIDES,
    Categorical,
    FeatureSchema,
    IdFeature,
    Lookup,
    Numeric,
    Side,
)

FLOAT32_MAX = float(np.finfo(np.float32).max)
_ABSENT_ID = -1  # a marker while encoding; never leaves this file


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
    one = {
        "user": {n: (v,) for n, v in user.items()},
        "context": {n: (v,) for n, v in context.items()},
    }
    columns: dict[Side, dict[str, Column]] = {
        "user": dict(one["user"]),
        "context": dict(one["context"]),
        "item": dict(items),
        "cross": {},
    }
    raw: dict[str, Columns] = {**one, "item": items}
    for side in (s for s in ("context", "cross") if s in sides):
        wide = rows if side == "cross" else 1
        for feature in schema.value_features(side):
            if isinstance(feature, Lookup):
                maps = raw[feature.source_side].get(feature.source, (None,))
                keys = raw[feature.key_side].get(feature.key, (None,))
                columns[side][feature.name] = look_up(feature, maps, keys, wide)
    blocks: dict[str, Array] = {}
    for side in (s for s in SIDES if s in sides):
        wide = rows if side in ("item", "cross") else 1
        blocks |= encode_side(schema, side, columns[side], wide, counts)
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
    if width := schema.ids_width(side):
        ids = np.zeros((rows, width), np.int32)
        at = 0
        for feature in schema.id_features(side):
            column = _column(columns, feature.name, rows)
            ids[:, at : at + feature.ids] = _ids(schema, feature, column, rows, counts)
            at += feature.ids
        blocks[f"{side}_ids"] = ids
    if width := schema.values_width(side):
        values = np.empty((rows, width), np.float32)
        at = 0
        for value_feature in schema.value_features(side):
            column = _column(columns, value_feature.name, rows)
            if isinstance(value_feature, Numeric):
                values[:, at] = numbers(
                    value_feature.name, column, value_feature.default, rows, counts
                )
            else:
                values[:, at : at + value_feature.width] = _looked_up(value_feature, column, rows)
            at += value_feature.width
        blocks[f"{side}_values"] = values
    return blocks


def numbers(
    name: str, column: Column | None, default: float, rows: int, counts: Counts | None = None
) -> Array:
    """A column of numbers as float64 (rows,); None, and NaN in a float array, take `default`.

    Raises:
        EncodeError: a boolean, a string, a non-finite number, or one that float32 cannot hold.
    """
    if column is None:
        if counts is not None:
            counts.defaulted[name] += rows
        return np.full(rows, default)
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiu":
        values = column.astype(np.float64)
        absent = np.isnan(values)
    else:
        absent = np.zeros(rows, bool)
        if not set(map(type, column)) <= {int, float}:
            column = list(column)
            for row, value in enumerate(column):
                if value is None:
                    absent[row] = True
                    column[row] = 0.0
                elif isinstance(value, bool | np.bool_) or not isinstance(
                    value, int | float | np.integer | np.floating
                ):
                    raise EncodeError(name, row, value, "is not a number")
        try:
            values = np.array(column, np.float64)
        except OverflowError:
            row = next(
                i for i, v in enumerate(column) if isinstance(v, int) and abs(v) > FLOAT32_MAX
            )
            raise EncodeError(name, row, column[row], "is too large for float32") from None
    if absent.any():
        values[absent] = default
        if counts is not None:
            counts.defaulted[name] += int(absent.sum())
    wrong = ~(np.abs(values) <= FLOAT32_MAX)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise EncodeError(name, row, float(values[row]), "is not finite, or too large for float32")
    return values


def look_up(feature: Lookup, maps: Column, keys: Column, rows: int) -> Array:
    """Numbers of a pair: the entry of each row's map under each row's key, float32 (rows, width).

    `maps` and `keys` have one entry (shared by all rows) or `rows` entries.
    """
    default = np.array(feature.default, np.float32)
    out = np.empty((rows, feature.width), np.float32)
    one_map, one_key = len(maps) == 1, len(keys) == 1
    read: dict[int, Array] = {}  # by identity: candidates share authors and tags, and so entries
    for row in range(rows):
        table = maps[0 if one_map else row]
        key = keys[0 if one_key else row]
        if table is None or key is None:
            out[row] = default
            continue
        if not isinstance(table, Mapping):
            raise EncodeError(feature.source, row, table, "is not a map of key to numbers")
        keyed_by = key if isinstance(key, list | tuple) else (key,)
        found = []
        for text in [_text(feature.key, row, k) for k in keyed_by if k is not None]:
            if (entry := table.get(text)) is None:
                continue
            if id(entry) not in read:
                read[id(entry)] = _entry(feature, row, entry)
            found.append(read[id(entry)])
        out[row] = sum(found) / len(found) if found else default
    return out


def _entry(feature: Lookup, row: int, entry: Any) -> Array:
    wrong = EncodeError(
        feature.source, row, entry, f"is not a list of {feature.width} finite numbers"
    )
    try:
        values = np.array(entry, np.float64)
    except (TypeError, ValueError, OverflowError) as err:
        raise wrong from err
    if values.shape != (feature.width,) or not (np.abs(values) <= FLOAT32_MAX).all():
        raise wrong
    return values


def _looked_up(feature: Lookup, column: Column | None, rows: int) -> Array:
    """A lookup already joined to rows: (rows, width); None or NaN rows take the default."""
    if column is None:
        return np.tile(np.array(feature.default, np.float32), (rows, 1))
    if not isinstance(column, np.ndarray):
        column = np.array([feature.default if v is None else v for v in column], np.float64)
    if column.shape != (rows, feature.width):
        raise EncodeError(feature.name, 0, column.shape, f"is not of shape {(rows, feature.width)}")
    values: Array = np.where(np.isnan(column), np.array(feature.default), column)
    return values


def _column(columns: Columns, name: str, rows: int) -> Column | None:
    column = columns.get(name)
    if column is not None and len(column) != rows:
        raise ValueError(f"feature {name!r} has {len(column)} values for {rows} rows")
    return column


def _ids(
    schema: FeatureSchema, feature: IdFeature, column: Column | None, rows: int, counts: Counts
) -> Array:
    vocabulary = schema.vocabularies[feature.name]
    if not isinstance(feature, Categorical):
        return _id_lists(feature, vocabulary, column, rows, counts)
    default = 0 if feature.default is None else _id_of(vocabulary, feature.default)
    if column is None:
        counts.defaulted[feature.name] += rows
        return np.full((rows, 1), default, np.int32)
    ids = np.empty(rows, np.int32)
    if isinstance(column, np.ndarray):
        column = column.tolist()
    known = vocabulary if isinstance(vocabulary, dict) else {}
    for row, value in enumerate(column):
        found = known.get(value, _ABSENT_ID) if isinstance(value, str) else _ABSENT_ID
        if found == _ABSENT_ID:
            if value is None:
                counts.defaulted[feature.name] += 1
                found = default
            else:
                found = _id_of(vocabulary, _text(feature.name, row, value))
                if found == 0:
                    counts.out_of_vocabulary[feature.name] += 1
        ids[row] = found
    return ids[:, None]


def _id_lists(
    feature: IdFeature,
    vocabulary: dict[str, int] | int,
    column: Column | None,
    rows: int,
    counts: Counts,
) -> Array:
    ids = np.zeros((rows, feature.ids), np.int32)
    if column is None:
        counts.defaulted[feature.name] += rows
        return ids
    for row, values in enumerate(column):
        if values is None:
            counts.defaulted[feature.name] += 1
            continue
        if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
            raise EncodeError(feature.name, row, values, "is not a list of strings")
        present = (value for value in values if value is not None)
        for place, value in enumerate(islice(present, feature.ids)):
            found = _id_of(vocabulary, _text(feature.name, row, value))
            if found == 0:
                counts.out_of_vocabulary[feature.name] += 1
            ids[row, place] = found
    return ids


def _id_of(vocabulary: dict[str, int] | int, text: str) -> int:
    return vocabulary.get(text, 0) if isinstance(vocabulary, dict) else _hashed(text, vocabulary)


@lru_cache(maxsize=1 << 16)
def _hashed(text: str, buckets: int) -> int:
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % buckets


def _text(name: str, row: int, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    raise EncodeError(name, row, value, "is neither a string nor an integer")
