"""Tables + mapping -> typed features, labels and spaces, which training and records share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.features import Side
from training.data.config import ColumnsConfig, FeatureColumn
from training.data.errors import DataError
from training.data.log import Origin
from training.data.tables import DAY, ID, ITEM, ORDER, ROW, USER, Table, Tables
from training.data.typed import label_values, typed

KEYS = (ROW, DAY, USER, ITEM, ORDER)


@dataclass(frozen=True, eq=False)
class Assembled:
    """A log ready to be counted: `frame` has KEYS and every feature by its name.

    `sides` holds the side tables, typed, with @id: what an unseen user or item is known by.
    Dates that ages are counted from stay dates in both.
    """

    mapping: ColumnsConfig
    frame: pl.DataFrame
    sides: Mapping[Side, pl.DataFrame]
    labels: Mapping[str, NDArray[np.float64]]  # NaN where undefined
    spaces: Mapping[str, NDArray[np.bool_]]
    origin: Origin

    def positive(self, label: str) -> NDArray[np.bool_]:
        """(N,) where that label is known and above 0."""
        return np.nan_to_num(self.labels[label]) > 0


def assemble(tables: Tables, mapping: ColumnsConfig) -> Assembled:
    """Type every mapped column and join the side tables to the log.

    Raises:
        DataError: a mapped column that no table has, or a cell that does not fit, with its row.
    """
    frame = tables.log.frame.select(KEYS)
    sides: dict[Side, pl.DataFrame] = {}
    keys: tuple[tuple[Side, str], ...] = (("user", USER), ("item", ITEM))
    for side, key in keys:
        beside = tables.side(side)
        if beside is None:
            continue
        features = [
            f for f in mapping.features if f.side == side and _is_beside(f, beside, mapping)
        ]
        sides[side] = beside.frame.select(ID).with_columns(typed(beside, f) for f in features)
        frame = frame.join(sides[side], left_on=key, right_on=ID, how="left", maintain_order="left")
    for feature in mapping.features:
        if feature.name in (mapping.user_id_feature, mapping.item_id_feature):
            key = USER if feature.name == mapping.user_id_feature else ITEM
            frame = frame.with_columns(pl.col(key).alias(feature.name))
        elif feature.name not in frame.columns:
            frame = frame.with_columns(typed(tables.log, feature))
    labels = {label.name: label_values(tables.log, label) for label in mapping.labels}
    spaces = {"impression": np.ones(len(frame), bool)}
    for space in mapping.spaces:
        values = labels[space.label]
        positive = np.nan_to_num(values) > 0
        spaces[space.name] = positive if space.rule == "positive" else ~np.isnan(values)
    for label in mapping.labels:
        if label.space is not None:
            labels[label.name] = np.where(spaces[label.space], labels[label.name], np.nan)
    origin = Origin(tables.log.source, {label.name: label.source for label in mapping.labels})
    return Assembled(mapping, frame, sides, labels, spaces, origin)


def raw_column(feature: FeatureColumn, values: pl.Series, days: pl.Series) -> NDArray[Any]:
    """A typed column as `encode_rows` takes it: float64 with NaN, or objects with None.

    Args:
        feature: what the column is.
        values: its typed values.
        days: the day (YYYYMMDD) that ages are counted to.

    Raises:
        DataError: such a day that no calendar has.
    """
    if feature.kind == "age_days":
        until = days.cast(pl.String).str.to_date("%Y%m%d", strict=False)
        if until.null_count() > days.null_count():
            wrong = days.filter(until.is_null())[0]
            raise DataError(f"feature {feature.name}: day {wrong} is no YYYYMMDD to count ages to")
        values = (until - values).dt.total_days().cast(pl.Float64)
    if values.dtype.is_numeric():
        return values.fill_null(np.nan).to_numpy()
    objects = np.empty(len(values), object)
    objects[:] = values.to_list()
    return objects


def _is_beside(feature: FeatureColumn, beside: Table, mapping: ColumnsConfig) -> bool:
    is_id = feature.name in (mapping.user_id_feature, mapping.item_id_feature)
    return beside.has(feature.source) and not is_id
