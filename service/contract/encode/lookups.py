"""Numbers of pairs: entries of maps, picked by keys; an entry is read once for all who share it."""

from collections.abc import Mapping
from itertools import chain, repeat
from typing import Any

import numpy as np

from service.contract.encode.columns import FLOAT32_MAX, Array, Column, text_of
from service.contract.errors import EncodeError
from service.contract.features import Lookup


def look_up(feature: Lookup, maps: Column, keys: Column, rows: int) -> Array:
    """Numbers of a pair: the entry of each row's map under each row's key, float32 (rows, width).

    `maps` and `keys` have one entry (shared by all rows) or `rows` entries.
    """
    for attempt in (_by_entry, _by_list) if rows > 1 else ():
        if (found := attempt(feature, maps, keys, rows)) is not None:
            return found
    return _one_by_one(feature, maps, keys, rows)


def joined(feature: Lookup, column: Column | None, rows: int) -> Array:
    """A lookup already joined to rows: (rows, width); None or NaN rows take the default."""
    if column is None:
        return np.tile(np.array(feature.default, np.float32), (rows, 1))
    if not isinstance(column, np.ndarray):
        column = np.array([feature.default if v is None else v for v in column], np.float64)
    if column.shape != (rows, feature.width):
        raise EncodeError(feature.name, 0, column.shape, f"is not of shape {(rows, feature.width)}")
    values: Array = np.where(np.isnan(column), np.array(feature.default), column)
    return values


def _by_entry(feature: Lookup, maps: Column, keys: Column, rows: int) -> Array | None:
    """For plain maps and plain keys; None if there are others, or what is found is not right."""
    if not set(map(type, maps)) <= {dict, type(None)}:
        return None
    if not (types := set(map(type, keys))) <= {str, int, type(None)}:
        return None
    texts = [str(k) if type(k) is int else k for k in keys] if int in types else keys
    wide_maps = repeat(maps[0], rows) if len(maps) == 1 else maps
    wide_texts = repeat(texts[0], rows) if len(keys) == 1 else texts
    pairs = zip(wide_maps, wide_texts, strict=False)
    # No key of a JSON object is None.
    entries = [None if m is None else m.get(text) for m, text in pairs]
    if (read := _read_once(feature, entries)) is None:
        return None
    table, places = read
    default = np.array([feature.default], np.float32)
    return np.concatenate([table.astype(np.float32), default])[places]


def _by_list(feature: Lookup, maps: Column, keys: Column, rows: int) -> Array | None:
    """The same for keys that are lists of strings, of one map."""
    if len(maps) != 1 or not isinstance(maps[0], dict):
        return None
    if not set(map(type, keys)) <= {list, tuple, type(None)}:
        return None
    if not set(map(type, chain.from_iterable(filter(None, keys)))) <= {str}:
        return None
    get = maps[0].get
    entries = [[e for text in key or () if (e := get(text)) is not None] for key in keys]
    if (read := _read_once(feature, list(chain.from_iterable(entries)))) is None:
        return None
    table, places = read
    found = np.fromiter(map(len, entries), np.intp, rows)
    first = found.cumsum() - found
    sums = np.zeros((rows, feature.width))
    for at in range(int(found.max())):  # one after the other: that is how the mean is rounded
        longer = np.flatnonzero(found > at)
        sums[longer] += table[places[first[longer] + at]]
    out = np.repeat(np.array([feature.default], np.float32), rows, axis=0)
    some = found > 0
    out[some] = sums[some] / found[some, None]
    return out


def _read_once(feature: Lookup, entries: list[Any]) -> tuple[Array, Array] | None:
    """The different entries as numbers, and the place of each of `entries` (its end: of none).

    By identity, for candidates share authors and tags. None if one is not as it must be.
    """
    different = {id(entry): entry for entry in entries if entry is not None}
    table = np.empty((0, feature.width))
    if different:
        try:
            table = np.array(list(different.values()), np.float64)
        except (TypeError, ValueError, OverflowError):
            return None
    if table.shape != (len(different), feature.width) or not (np.abs(table) <= FLOAT32_MAX).all():
        return None
    place_of = {identity: place for place, identity in enumerate(different)}
    places = map(place_of.get, map(id, entries), repeat(len(different)))
    return table, np.fromiter(places, np.intp, len(entries))


def _one_by_one(feature: Lookup, maps: Column, keys: Column, rows: int) -> Array:
    """The same for any maps and keys: lists of keys, integers, and values that are refused."""
    default = np.array(feature.default, np.float32)
    out = np.empty((rows, feature.width), np.float32)
    one_map, one_key = len(maps) == 1, len(keys) == 1
    read: dict[int, Array] = {}  # by identity of the entry
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
        for text in [text_of(feature.key, row, k) for k in keyed_by if k is not None]:
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
