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
from training.modules.blocks import Blocks, Widths


class FeatureEmbedding(nn.Module):
    """One embedding table for all id features; log1p, standardisation and clipping for values.

    The contract's ids are per feature with 0 = out-of-vocabulary; a feature's rows start at its
    offset, or at the offset of the feature it `shares`. Multi-valued and sequence features are the
    mean
    over their ids, where id 0 contributes nothing.

    Args:
        dim: embedding width.
        log1p: names of value columns (patterns with `*`) that get log(1 + max(x, 0)) first.
        clip: standardised values are cut at ± this.
    """

    def __init__(
        self, schema: FeatureSchema, *, dim: int, log1p: Iterable[str] = (), clip: float = 5.0
    ) -> None:
        super().__init__()
        self.dim, self.clip, self.log1p = dim, clip, tuple(log1p)
        self._ranges, rows = _ranges(schema)
        self.table = nn.Parameter(torch.randn(rows, dim) * 0.05)
        self.sides = nn.ModuleDict()
        for side in SIDES:
            if schema.ids_width(side) or schema.values_width(side):
                self.sides[side] = _Side(schema, side, self._ranges, self.log1p, clip)
        self.widths = Widths(
            user=self._width("user") + self._width("context"),
            item=self._width("item"),
            cross=self._width("cross"),
        )

    def rows(self, feature: str) -> Tensor:
        """The rows of an id feature, or of the one it shares them with: (own_rows, dim), a view."""
        rows = self._ranges[feature]
        return self.table[rows.start : rows.stop]

    def fit(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Take mean and standard deviation of the (log-transformed) values from training rows."""
        for side, part in self.sides.items():
            if part.values:
                part.fit(torch.from_numpy(inputs[f"{side}_values"]))

    def forward(self, inputs: Mapping[str, Tensor]) -> Blocks:
        """Encoded blocks by input name, each (B, width) -> Blocks."""
        user = torch.cat([self._side("user", inputs), self._side("context", inputs)], dim=1)
        return Blocks(user, self._side("item", inputs), self._side("cross", inputs))

    def _side(self, side: Side, inputs: Mapping[str, Tensor]) -> Tensor:
        if side not in self.sides:
            some = next(iter(inputs.values()))
            return self.table.new_zeros(some.shape[0], 0)
        part = self.sides[side]
        return part(self.table, inputs.get(f"{side}_ids"), inputs.get(f"{side}_values"))

    def _width(self, side: Side) -> int:
        return self.sides[side].width(self.dim) if side in self.sides else 0


class _Side(nn.Module):
    """The features of one side: ids (B, K) and values (B, M) -> (B, number of id features * dim +
    M).
    """

    def __init__(
        self,
        schema: FeatureSchema,
        side: Side,
        ranges: Mapping[str, range],
        log1p: tuple[str, ...],
        clip: float,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.singles, self.lists = _places(schema.id_features(side))
        places = [at for at, _ in self.singles]
        self._constant("single_places", torch.tensor(places, dtype=torch.int64))
        offset = [ranges[name].start for _, name in self.singles]
        self._constant("single_offsets", torch.tensor(offset, dtype=torch.int32))
        self.list_offsets = [ranges[name].start for _, _, name in self.lists]
        columns = value_columns(schema, side)
        self.values = len(columns)
        logged = [any(fnmatchcase(name, pattern) for pattern in log1p) for name in columns]
        self.any_logged = any(logged)
        self._constant("logged", torch.tensor(logged, dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(self.values))
        self.register_buffer("scale", torch.ones(self.values))

    def width(self, dim: int) -> int:
        return (len(self.singles) + len(self.lists)) * dim + self.values

    def fit(self, values: Tensor) -> None:
        values = self._logged(values.double())
        deviation = values.std(dim=0, correction=0)
        self.mean.copy_(values.mean(dim=0))
        # A column that never varied carries nothing: scale 0 keeps a surprise at serving from
        # passing.
        self.scale.copy_(torch.where(deviation > 1e-6, 1 / deviation, 0))

    def forward(self, table: Tensor, ids: Tensor | None, values: Tensor | None) -> Tensor:
        parts = []
        if ids is not None:
            if self.singles:
                single = ids.index_select(1, self.single_places) + self.single_offsets
                parts.append(nn.functional.embedding(single, table).flatten(1))
            for (start, end, _), offset in zip(self.lists, self.list_offsets, strict=True):
                listed = ids[:, start:end]
                rows = nn.functional.embedding(listed + offset, table)  # (B, length, dim)
                present = (listed > 0).to(rows.dtype).unsqueeze(2)
                parts.append((rows * present).sum(dim=1) / present.sum(dim=1).clamp(min=1))
        if values is not None:
            values = (self._logged(values.to(self.mean.dtype)) - self.mean) * self.scale
            parts.append(values.clamp(-self.clip, self.clip))
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
