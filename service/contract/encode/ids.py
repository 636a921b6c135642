"""Columns of categories, sets and sequences -> int32 ids; 0 is out of vocabulary, or nothing.

Columns of short strings are found all at once, other whole columns by a dictionary pass each; only
what that does not find is looked at alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice, repeat
from typing import Any

import numpy as np

from service.contract.encode.columns import Array, Column, Columns, Counts, column_of, text_of
from service.contract.errors import EncodeError
from service.contract.features import Categorical, FeatureSchema, Side
from service.contract.words import WordTable, words_of

Vocabulary = dict[str, int] | int  # value -> id, or a number of hash buckets

_NOT_FOUND = -1  # a marker while encoding; never leaves this file
_LISTS = {list, tuple, type(None)}
_MOST_AT_ONCE = 1 << 16  # rows whose strings are joined, which for a whole log takes much memory


def encode_ids(
    schema: FeatureSchema, side: Side, columns: Columns, rows: int, counts: Counts
) -> Array:
    """The block `<side>_ids`, (rows, K) int32."""
    if rows == 1:
        return _one_row(schema, side, columns, counts)
    ids = np.zeros((rows, schema.ids_width(side)), np.int32)
    table = schema.item_words if side == "item" and rows <= _MOST_AT_ONCE else None
    joined: dict[int, tuple[Categorical, str]] = {}  # by place in the block
    at = 0
    for feature in schema.id_features(side):
        column = column_of(columns, feature.name, rows)
        vocabulary = schema.vocabularies[feature.name]
        if isinstance(feature, Categorical):
            known = table is not None and feature.name in table
            if known and (text := _joined(column)) is not None:
                joined[at] = feature, text
            else:
                ids[:, at] = _categories(feature, vocabulary, column, rows, counts)
        elif column is None:
            counts.defaulted[feature.name] += rows
        else:
            _fill_lists(ids[:, at : at + feature.ids], feature.name, vocabulary, column, counts)
        at += feature.ids
    if table is not None and joined:
        _fill_joined(ids, table, joined, counts)
    return ids


def _joined(column: Column | None) -> str | None:
    """The strings of a column, with NUL between them; None if a value is no string, or has NUL."""
    if column is None:
        return None
    try:
        text = "\0".join(column)
    except TypeError:
        return None
    return text if text.count("\0") == len(column) - 1 else None


def _fill_joined(
    ids: Array, table: WordTable, joined: Mapping[int, tuple[Categorical, str]], counts: Counts
) -> None:
    """Write the ids of whole columns into the block."""
    names = [feature.name for feature, _ in joined.values()]
    words = words_of([text for _, text in joined.values()])
    found = table.find(names, words).reshape(len(names), len(ids))
    ids[:, list(joined)] = found.T
    if not found.all():
        for name, missing in zip(names, (found == 0).sum(axis=1).tolist(), strict=True):
            if missing:
                counts.out_of_vocabulary[name] += missing


def _one_row(schema: FeatureSchema, side: Side, columns: Columns, counts: Counts) -> Array:
    """The same for one row: a user has many features, and an array for each would cost most."""
    ids: list[int] = []
    vocabularies = schema.vocabularies
    for feature in schema.id_features(side):
        name = feature.name
        column, vocabulary = columns.get(name), vocabularies[name]
        # mostly the one value of a request, a string of the vocabulary: no more calls than needed
        value = column[0] if type(column) is tuple and len(column) == 1 else _only(columns, name)
        known = vocabulary.get(value) if type(value) is str and type(vocabulary) is dict else None
        if known is not None and feature.kind == "categorical":
            ids.append(known)
        elif isinstance(feature, Categorical):
            ids.append(_category(feature, vocabulary, 0, value, counts))
        else:
            found = _list(name, vocabulary, feature.ids, 0, value, counts)
            ids += found
            ids += [0] * (feature.ids - len(found))
    return np.array([ids], np.int32)


def _only(columns: Columns, name: str) -> Any:
    """The one value of a column, None without one."""
    column = column_of(columns, name, 1)
    if column is None:
        return None
    return column.tolist()[0] if isinstance(column, np.ndarray) else column[0]


def _categories(
    feature: Categorical, vocabulary: Vocabulary, column: Column | None, rows: int, counts: Counts
) -> Array | int:
    if column is None:
        counts.defaulted[feature.name] += rows
        return _default(feature, vocabulary)
    values: Sequence[Any] = column.tolist() if isinstance(column, np.ndarray) else column
    ids = _found(vocabulary, values)
    for row in np.flatnonzero(ids == _NOT_FOUND).tolist():
        ids[row] = _category(feature, vocabulary, row, values[row], counts)
    return ids


def _found(vocabulary: Vocabulary, values: Sequence[Any]) -> Array:
    """The ids of those values that are strings of the vocabulary; `_NOT_FOUND` for the others."""
    try:
        if isinstance(vocabulary, dict):
            known = map(vocabulary.get, values, repeat(_NOT_FOUND))
            return np.fromiter(known, np.int32, len(values))
        if set(map(type, values)) <= {str}:
            return np.fromiter(map(_hashed, values, repeat(vocabulary)), np.int32, len(values))
    except TypeError:  # one that cannot be hashed
        pass
    return np.full(len(values), _NOT_FOUND, np.int32)


def _category(
    feature: Categorical, vocabulary: Vocabulary, row: int, value: Any, counts: Counts
) -> int:
    if value is None:
        counts.defaulted[feature.name] += 1
        return _default(feature, vocabulary)
    return _id_of(feature.name, vocabulary, row, value, counts)


def _default(feature: Categorical, vocabulary: Vocabulary) -> int:
    return 0 if feature.default is None else _id_of_text(vocabulary, feature.default)


def _fill_lists(
    ids: Array, name: str, vocabulary: Vocabulary, column: Column, counts: Counts
) -> None:
    """Write the ids of lists into a block (rows, places) of zeros."""
    places = ids.shape[1]
    if set(map(type, column)) <= _LISTS:
        lists = [() if values is None else values[:places] for values in column]
        flat = list(chain.from_iterable(lists))
        if type(None) not in set(map(type, flat)):  # null takes no place: others move up
            counts.defaulted[name] += sum(values is None for values in column)
            lengths = np.fromiter(map(len, lists), np.intp, len(lists))
            found = _found(vocabulary, flat)
            missing = np.flatnonzero(found == _NOT_FOUND)
            rows = np.searchsorted(lengths.cumsum(), missing, side="right")
            for at, row in zip(missing.tolist(), rows.tolist(), strict=True):
                found[at] = _id_of(name, vocabulary, row, flat[at], counts)
            ids[np.arange(places) < lengths[:, None]] = found
            return
    for row, values in enumerate(column):
        listed = _list(name, vocabulary, places, row, values, counts)
        ids[row, : len(listed)] = listed


def _list(
    name: str, vocabulary: Vocabulary, places: int, row: int, values: Any, counts: Counts
) -> list[int]:
    if values is None:
        counts.defaulted[name] += 1
        return []
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        raise EncodeError(name, row, values, "is not a list of strings")
    present = (value for value in values if value is not None)
    return [_id_of(name, vocabulary, row, value, counts) for value in islice(present, places)]


def _id_of(name: str, vocabulary: Vocabulary, row: int, value: Any, counts: Counts) -> int:
    found = _id_of_text(vocabulary, text_of(name, row, value))
    if found == 0:
        counts.out_of_vocabulary[name] += 1
    return found


def _id_of_text(vocabulary: Vocabulary, text: str) -> int:
    return vocabulary.get(text, 0) if isinstance(vocabulary, dict) else _hashed(text, vocabulary)


@lru_cache(maxsize=1 << 16)
def _hashed(text: str, buckets: int) -> int:
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % buckets
