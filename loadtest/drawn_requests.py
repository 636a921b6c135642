"""Draw rank requests that a package's schema accepts: its names and kinds, random values."""

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from service.contract.features import Categorical, Feature, FeatureSchema, Lookup, Numeric, Side

Form = Literal["ids", "columns"]
FORMS: tuple[Form, ...] = get_args(Form)

_HASHED_VALUES = 100_000  # distinct values drawn where a schema hashes


@dataclass(frozen=True)
class DrawnRequest:
    """One encoded request body, and the number of its candidates."""

    form: Form
    candidates: int
    body: bytes


class RequestDrawer:
    """Draws requests for one scene; the same seed draws the same bytes.

    `ids` sends only ids, so the service looks features up or takes defaults; `columns` sends every
    feature inline. History maps (lookups) are never inline: an engine leaves them to the store.
    """

    def __init__(self, scene: str, schema: FeatureSchema, *, seed: int) -> None:
        self._scene = scene
        self._schema = schema
        self._draw = np.random.default_rng(seed)
        self._ranges = {a.name: (a.min, a.max) for a in schema.attributes}
        self._values = {
            name: list(known)
            for name, known in schema.vocabularies.items()
            if isinstance(known, dict)
        }

    def request(self, form: Form, candidates: int) -> DrawnRequest:
        """One request with that many different candidates."""
        message = {
            "scene": self._scene,
            "user": {"id": self._ids(self._schema.user_id_feature, 1)[0]},
            "context": {name: values[0] for name, values in self._side("context", 1).items()},
            "candidates": {"ids": self._ids(self._schema.item_id_feature, candidates)},
        }
        if form == "columns":
            message["user"]["features"] = {
                name: values[0] for name, values in self._side("user", 1).items()
            }
            message["candidates"]["features"] = self._side("item", candidates)
        return DrawnRequest(form, candidates, json.dumps(message, separators=(",", ":")).encode())

    def _ids(self, feature: str | None, count: int) -> list[str]:
        known = self._values.get(feature or "", [])
        if len(known) < count:  # hashed, or the schema lists fewer than are wanted
            known = known + [f"unseen-{n}" for n in range(max(_HASHED_VALUES, count))]
        return [known[n] for n in self._draw.choice(len(known), size=count, replace=False)]

    def _side(self, side: Side, rows: int) -> dict[str, list[Any]]:
        fed_by_id = (self._schema.user_id_feature, self._schema.item_id_feature)
        columns = {
            feature.name: self._column(feature, rows)
            for feature in self._schema
            if feature.side == side and feature.name not in fed_by_id and feature.kind != "lookup"
        }
        if side == "item":
            for name, (low, high) in self._ranges.items():
                columns[name] = self._draw.uniform(low, high, rows).round(1).tolist()
        return columns

    def _column(self, feature: Feature, rows: int) -> list[Any]:
        if isinstance(feature, Numeric | Lookup):
            return self._draw.normal(feature.default, 1.0, rows).round(3).tolist()
        known = self._values.get(feature.name)
        width = getattr(feature, "max_length", 1)
        drawn = self._draw.integers(0, len(known) if known else _HASHED_VALUES, (rows, width))
        texts = [[known[n] if known else str(n) for n in row] for row in drawn.tolist()]
        if isinstance(feature, Categorical):
            return [row[0] for row in texts]
        lengths = self._draw.integers(0, width + 1, rows).tolist()
        return [row[:length] for row, length in zip(texts, lengths, strict=True)]
