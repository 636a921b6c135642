"""Requests -> rows of an Arrow table. A request is converted at once, and let go."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from service.traffic.layout import ATTRIBUTE, FORMAT, HEAD, INPUT, INPUTS, METADATA
from service.traffic.list_columns import Numbers, Texts
from service.traffic.record import Entry, Ranked, Used, to_json

DICTIONARY = ["formula", "exp_id", "assignments", "params", "signs"]

_TEXT = arrow.string()


@dataclass(frozen=True)
class Layout:
    """What the rows of one file have in common."""

    scene: str
    model: str
    heads: tuple[str, ...]
    attributes: tuple[str, ...]

    @classmethod
    def of(cls, ranked: Ranked) -> "Layout":
        return cls(ranked.scene, ranked.model, tuple(ranked.heads), tuple(ranked.attributes))

    @property
    def numbers(self) -> dict[str, arrow.DataType]:
        """Columns of lists of numbers, in the order of the file."""
        return {
            **_OF_CANDIDATES,
            **{HEAD + name: arrow.float32() for name in self.heads},
            **{ATTRIBUTE + name: arrow.float64() for name in self.attributes},
            **{INPUT + name: _dtype(name) for name in INPUTS},
        }

    @property
    def as_it_is(self) -> frozenset[str]:
        """Columns that hardly shrink: to compress them costs more CPU than to write them."""
        return frozenset({"ids", *(name for name in self.numbers if not name.startswith(INPUT))})

    def schema(self) -> arrow.Schema:
        lists = {"ids": _TEXT, **self.numbers}
        about = {"format": FORMAT, "scene": self.scene, "model": self.model}
        return arrow.schema(
            [
                *((name, type_) for name, type_ in _PLAIN.items()),
                *((name, arrow.list_(type_)) for name, type_ in lists.items()),
            ],
            metadata={METADATA: json.dumps(about).encode()},
        )


_PLAIN: dict[str, arrow.DataType] = {
    "request_id": _TEXT,
    "at": arrow.timestamp("ms", "UTC"),
    "took_ms": arrow.float32(),
    "scene": _TEXT,
    "model": _TEXT,
    "plan": arrow.int32(),
    "formula": _TEXT,
    "params": _TEXT,
    "signs": _TEXT,
    "assignments": _TEXT,
    "exp_id": _TEXT,
    "asked": _TEXT,
    "degraded": _TEXT,
    "user_id": _TEXT,
    "user": _TEXT,
    "context": _TEXT,
    "user_record": arrow.binary(),
    "item_columns": _TEXT,
    "categories": _TEXT,
    "limit": arrow.int32(),
    "scored": arrow.int32(),
}

_OF_CANDIDATES = {"order": arrow.int32(), "scores": arrow.float64(), "versions": arrow.int64()}


def _dtype(name: str) -> arrow.DataType:
    return arrow.int32() if name.endswith("_ids") else arrow.float32()


class RequestRows:
    """Rows that wait to be written. `candidates` is how many they hold."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.candidates = layout, 0
        self._schema = layout.schema()
        self._plain: list[tuple[Any, ...]] = []
        self._ids = Texts()
        self._numbers = {name: Numbers(type_) for name, type_ in layout.numbers.items()}

    def __len__(self) -> int:
        return len(self._plain)

    def add(self, entry: Entry, versions: NDArray[np.int64] | None) -> None:
        """`versions` (S,) of the item records; None where nothing was scored."""
        ranked, used = entry
        row, numbers = len(self._plain), self._numbers
        self._plain.append(_plain(ranked, used))
        self._ids.add(ranked.ids)
        numbers["order"].add(row, ranked.order)
        numbers["scores"].add(row, ranked.scores)
        if versions is not None:
            numbers["versions"].add(row, versions)
        for name, heads in ranked.heads.items():
            numbers[HEAD + name].add(row, heads)
        for name, values in ranked.attributes.items():
            numbers[ATTRIBUTE + name].add(row, values)
        if used is not None:
            for name, block in used.blocks.items():
                # What is encoded of stored items alone is logged with their records.
                if used.item_columns or not name.startswith("item_"):
                    numbers[INPUT + name].add(row, block)
        self.candidates += len(ranked.ids)

    def table(self) -> arrow.Table:
        """The rows; the table is valid until `clear`."""
        plain = zip(zip(*self._plain, strict=True), _PLAIN.values(), strict=True)
        columns = [
            *(arrow.array(values, type_) for values, type_ in plain),
            self._ids.array(),
            *(numbers.array(len(self)) for numbers in self._numbers.values()),
        ]
        return arrow.Table.from_arrays(columns, schema=self._schema)

    def clear(self) -> None:
        """Let the rows go."""
        self._plain, self.candidates = [], 0
        self._ids.clear()
        for numbers in self._numbers.values():
            numbers.clear()


def _plain(ranked: Ranked, used: Used | None) -> tuple[Any, ...]:
    """The values of `_PLAIN`."""
    return (
        ranked.request_id,
        int(ranked.at_s * 1000),
        ranked.took_ms,
        ranked.scene,
        ranked.model,
        ranked.plan,
        ranked.formula,
        _json(ranked.params),
        _json(ranked.signs),
        _json(ranked.assignments),
        ranked.exp_id,
        _json(ranked.asked),
        _json(ranked.degraded),
        ranked.user_id,
        _json(ranked.user),
        _json(ranked.context),
        None if used is None else used.user_record,
        _json(used.item_columns) if used is not None and used.item_columns else None,
        _json(ranked.categories) if ranked.categories else None,
        ranked.limit,
        ranked.scored,
    )


def _json(value: Mapping[str, Any]) -> str:
    return to_json(value).decode() if value else "{}"
