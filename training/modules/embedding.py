"""Encoded features -> three blocks of numbers; all transforms of numbers are in the graph.

The widths of a block: every id feature brings `dim` numbers, every value column one.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor, nn

from service.contract.features import (
    SIDES,
    Categorical,
    FeatureSchema,
    IdFeature,
    Numeric,
    Side,
)
from training.modules.blocks import Block, Blocks, Field, Layout, Listed, Widths
from training.modules.pooling import POOLINGS
from training.modules.table import LocalTable, Table


class FeatureEmbedding(nn.Module):
    """One embedding table for all id features; log1p, standardisation and clipping for values.

    The contract's ids are per feature with 0 = out-of-vocabulary; a feature's rows start at its
    offset, or at the offset of the feature it `shares`. Multi-valued and sequence features are
    pooled over their ids, where id 0 contributes nothing.

    Args:
        dim: embedding width.
        log1p: names of value columns (patterns with `*`) that get log(1 + max(x, 0)) first.
        clip: standardised values are cut at ± this.
        pooling: "mean", "sum" or "max" by multi-valued feature; those not named take the mean.
        unpooled: multi-valued features handed on as `Blocks.lists`; of these, only the ones that
            `pooling` names are columns, too.
        identified: single-valued features handed on as `Blocks.ids`.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        *,
        dim: int,
        log1p: Iterable[str] = (),
        clip: float = 5.0,
        pooling: Mapping[str, str] | None = None,
        unpooled: Iterable[str] = (),
        identified: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.dim, self.clip, self.log1p = dim, clip, tuple(log1p)
        self.pooling, self.unpooled = dict(pooling or {}), tuple(unpooled)
        self._ids = {name: _place_of(schema, name) for name in identified}
        self._ranges, rows = _ranges(schema)
        self.lookup: Table = LocalTable(rows, dim)
        self.sides = nn.ModuleDict()
        for side in SIDES:
            if schema.ids_width(side) or schema.values_width(side):
                self.sides[side] = _Side(schema, side, self)
        order: tuple[Side, ...] = ("user", "context", "item", "cross")
        parts = [self.sides[side] for side in order if side in self.sides]
        self.layout = Layout(tuple(field for part in parts for field in part.fields))

    @property
    def widths(self) -> Widths:
        return self.layout.widths

    @property
    def table(self) -> nn.Parameter:
        """All rows, where they lie on one device: (rows, dim)."""
        return self.lookup.weight

    def rows(self, feature: str) -> Tensor:
        """The rows of an id feature, or of the one it shares them with: (own_rows, dim), a view."""
        rows = self._ranges[feature]
        return self.table[rows.start : rows.stop]

    def start(self, feature: str) -> int:
        """The number of a feature's first row."""
        return self._ranges[feature].start

    def fit(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Take mean and standard deviation of the (log-transformed) values from training rows."""
        for side, part in self.sides.items():
            if part.values:
                part.fit(torch.from_numpy(inputs[f"{side}_values"]))

    def forward(self, inputs: Mapping[str, Tensor]) -> Blocks:
        """Encoded blocks by input name, each (B, width) -> Blocks."""
        lists: dict[str, Listed] = {}
        user, context, item, cross = (
            self._side(side, inputs, lists) for side in ("user", "context", "item", "cross")
        )
        ids = {name: inputs[block][:, at] for name, (block, at) in self._ids.items()}
        return Blocks(torch.cat([user, context], dim=1), item, cross, lists, ids)

    def _side(self, side: Side, inputs: Mapping[str, Tensor], lists: dict[str, Listed]) -> Tensor:
        if side not in self.sides:
            some = next(iter(inputs.values()))
            like = next(iter(self.sides.values())).mean
            return like.new_zeros(some.shape[0], 0)
        part = self.sides[side]
        ids, values = inputs.get(f"{side}_ids"), inputs.get(f"{side}_values")
        return part(self.lookup, ids, values, lists)


class _Side(nn.Module):
    """The features of one side: ids (B, K) and values (B, M) -> (B, D), columns as in `fields`."""

    def __init__(self, schema: FeatureSchema, side: Side, whole: FeatureEmbedding) -> None:
        super().__init__()
        self.clip, self.pooling, self.unpooled = whole.clip, whole.pooling, whole.unpooled
        self.singles, self.lists = _places(schema.id_features(side))
        places = [at for at, _ in self.singles]
        self._constant("single_places", torch.tensor(places, dtype=torch.int64))
        offset = [whole.start(name) for _, name in self.singles]
        self._constant("single_offsets", torch.tensor(offset, dtype=torch.int32))
        self.list_offsets = [whole.start(name) for _, _, name in self.lists]
        columns = value_columns(schema, side)
        self.values = len(columns)
        logged = [any(fnmatchcase(name, pattern) for pattern in whole.log1p) for name in columns]
        self.any_logged = any(logged)
        self._constant("logged", torch.tensor(logged, dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(self.values))
        self.register_buffer("scale", torch.ones(self.values))
        pooled = [name for _, _, name in self.lists if self._pools(name)]
        names = [*(name for _, name in self.singles), *pooled]
        block: Block = "user" if side == "context" else side
        self.fields = (
            *(Field(name, whole.dim, block, embedded=True) for name in names),
            *(Field(name, 1, block, embedded=False) for name in columns),
        )

    def _pools(self, feature: str) -> bool:
        return feature not in self.unpooled or feature in self.pooling

    def fit(self, values: Tensor) -> None:
        values = self._logged(values.double())
        deviation = values.std(dim=0, correction=0)
        self.mean.copy_(values.mean(dim=0))
        # A column that never varied carries nothing: scale 0 keeps a surprise at serving from
        # passing.
        self.scale.copy_(torch.where(deviation > 1e-6, 1 / deviation, 0))

    def forward(
        self,
        lookup: Table,
        ids: Tensor | None,
        values: Tensor | None,
        lists: dict[str, Listed],
    ) -> Tensor:
        parts = []
        if ids is not None:
            if self.singles:
                single = ids.index_select(1, self.single_places) + self.single_offsets
                parts.append(lookup(single).flatten(1))
            for (start, end, name), offset in zip(self.lists, self.list_offsets, strict=True):
                listed = ids[:, start:end]
                found = Listed(lookup(listed + offset), listed > 0)
                if name in self.unpooled:
                    lists[name] = found
                if self._pools(name):
                    parts.append(POOLINGS[self.pooling.get(name, "mean")](*found))
        if values is not None:
            values = (self._logged(values.to(self.mean.dtype)) - self.mean) * self.scale
            parts.append(values.clamp(-self.clip, self.clip))
        if not parts:  # nothing but an unpooled list
            return self.mean.new_zeros(ids.shape[0], 0)
        return torch.cat(parts, dim=1)

    def _constant(self, name: str, value: Tensor) -> None:
        """A tensor that the schema decides, so no checkpoint holds it."""
        self.register_buffer(name, value, persistent=False)

    def _logged(self, values: Tensor) -> Tensor:
        if not self.any_logged:
            return values
        return torch.where(self.logged, torch.log1p(values.clamp(min=0)), values)


def _places(
    features: Iterable[IdFeature],
) -> tuple[list[tuple[int, str]], list[tuple[int, int, str]]]:
    """Column of every single-valued feature, and columns [start, end) of every list, with their
    names.
    """
    singles, lists, at = [], [], 0
    for feature in features:
        if isinstance(feature, Categorical):
            singles.append((at, feature.name))
        else:
            lists.append((at, at + feature.ids, feature.name))
        at += feature.ids
    return singles, lists


def _place_of(schema: FeatureSchema, feature: str) -> tuple[str, int]:
    """The input and the column in it where a single-valued feature's id stands."""
    side = schema.by_name[feature].side
    singles, _ = _places(schema.id_features(side))
    return f"{side}_ids", next(at for at, name in singles if name == feature)


def value_columns(schema: FeatureSchema, side: Side) -> list[str]:
    """Names of the columns of `<side>_values`: a numeric feature's name, or `lookup.column`."""
    return [
        name
        for feature in schema.value_features(side)
        for name in (
            [feature.name]
            if isinstance(feature, Numeric)
            else [f"{feature.name}.{column}" for column in feature.columns]
        )
    ]


def _ranges(schema: FeatureSchema) -> tuple[dict[str, range], int]:
    """The table rows of every id feature, and the number of rows."""
    features = [f for side in SIDES for f in schema.id_features(side)]
    ranges, rows = {}, 0
    for feature in features:
        if feature.shares is None:
            ranges[feature.name] = range(rows, rows + feature.own_rows)
            rows += feature.own_rows
    return {f.name: ranges[f.shares or f.name] for f in features}, rows
