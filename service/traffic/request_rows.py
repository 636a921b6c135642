"""Requests -> rows of an Arrow table. A request is converted at once, and let go."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from service.traffic.layout import ATTRIBUTE, FORMAT, HEAD, INPUT, INPUTS, METADATA
from service.traffic.record import Entry, Ranked, to_json

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

    def schema(self) -> arrow.Schema:
        lists: dict[str, arrow.DataType] = {"ids": _TEXT, "order": arrow.int32()}
        lists |= {"scores": arrow.float64(), "versions": arrow.int64()}
        lists |= {HEAD + name: arrow.float32() for name in self.heads}
        lists |= {ATTRIBUTE + name: arrow.float64() for name in self.attributes}
        lists |= {INPUT + name: _dtype(name) for name in INPUTS}
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


def _dtype(name: str) -> arrow.DataType:
    return arrow.int32() if name.endswith("_ids") else arrow.float32()


@dataclass
class RequestRows:
    """Rows that wait to be written. `candidates` is how many they hold."""

    layout: Layout
    candidates: int = 0
    _plain: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _PLAIN})
    _ids: list[arrow.Array] = field(default_factory=list)
    _lists: dict[str, list[NDArray[Any] | None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, entry: Entry, versions: NDArray[np.int64] | None) -> None:
        """`versions` (S,) of the item records; None where nothing was scored."""
        ranked, used = entry
        values = {
            "request_id": ranked.request_id,
            "at": int(ranked.at_s * 1000),
            "took_ms": ranked.took_ms,
            "scene": ranked.scene,
            "model": ranked.model,
            "plan": ranked.plan,
            "formula": ranked.formula,
            "params": _json(ranked.params),
            "signs": _json(ranked.signs),
            "assignments": _json(ranked.assignments),
            "exp_id": ranked.exp_id,
            "asked": _json(ranked.asked),
            "degraded": _json(ranked.degraded),
            "user_id": ranked.user_id,
            "user": _json(ranked.user),
            "context": _json(ranked.context),
            "user_record": None if used is None else used.user_record,
            "item_columns": None
            if used is None or not used.item_columns
            else _json(used.item_columns),
            "categories": _json(ranked.categories) if ranked.categories else None,
            "limit": ranked.limit,
            "scored": ranked.scored,
        }
        for name, column in self._plain.items():
            column.append(values[name])
        self._ids.append(arrow.array(ranked.ids, _TEXT))
        self._add("order", ranked.order.astype(np.int32))
        self._add("scores", ranked.scores)
        self._add("versions", versions)
        for name in self.layout.heads:
            self._add(HEAD + name, ranked.heads.get(name))
        for name in self.layout.attributes:
            self._add(ATTRIBUTE + name, ranked.attributes.get(name))
        blocks = {} if used is None else used.blocks
        inline = used is not None and bool(used.item_columns)
        for name in INPUTS:
            # What is encoded of stored items alone is logged with their records.
            logged = inline or not name.startswith("item_")
            self._add(INPUT + name, blocks.get(name) if logged else None)
        self.candidates += len(ranked.ids)

    def table(self) -> arrow.Table:
        schema = self.layout.schema()
        columns = [arrow.array(self._plain[name], type_) for name, type_ in _PLAIN.items()]
        columns.append(
            arrow.ListArray.from_arrays(
                _offsets([len(ids) for ids in self._ids]), arrow.concat_arrays(self._ids)
            )
        )
        columns += [
            list_array(self._lists[name], schema.field(name).type.value_type)
            for name in schema.names[len(columns) :]
        ]
        return arrow.Table.from_arrays(columns, schema=schema)

    def _add(self, name: str, values: NDArray[Any] | None) -> None:
        self._lists.setdefault(name, []).append(None if values is None else values.reshape(-1))


def list_array(rows: Sequence[NDArray[Any] | None], type_: arrow.DataType) -> arrow.ListArray:
    """One list a row; null where there is none."""
    lengths = [0 if row is None else len(row) for row in rows]
    present = [row for row in rows if row is not None]
    dtype = type_.to_pandas_dtype()
    values = np.concatenate(present) if present else np.zeros(0, dtype)
    missing = np.array([row is None for row in rows])
    return arrow.ListArray.from_arrays(
        _offsets(lengths),
        arrow.array(values.astype(dtype, copy=False)),
        mask=arrow.array(missing) if missing.any() else None,
    )


def _offsets(lengths: Sequence[int]) -> arrow.Array:
    return arrow.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _json(value: Any) -> str:
    return to_json(value).decode()
