"""Log -> feature schema: vocabularies, defaults and observed ranges, from the rows given only."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import polars as pl

from service.contract.features import (
    Attribute,
    Categorical,
    Feature,
    FeatureSchema,
    MultiValued,
    Numeric,
    Sequence,
)
from training.data.config import ColumnsConfig, FeatureColumn, FeaturesConfig
from training.data.errors import DataError
from training.data.history_config import HistoryConfig
from training.data.layout import place
from training.data.seen import NUMBERS, Seen


def schema_of(
    seen: Seen, mapping: ColumnsConfig, history: HistoryConfig, chosen: FeaturesConfig
) -> FeatureSchema:
    """The schema of the mapped columns, then of history, less what `chosen` excludes.

    Raises:
        DataError: an unknown name in `chosen`, or a numeric feature without a single value.
    """
    features: list[Feature] = [_feature(f, seen, chosen) for f in mapping.features]
    for recent in history.recent:
        shares = mapping.item_id_feature
        if shares is None:
            raise DataError(f"{recent.name} lists items, but no feature reads {mapping.item!r}")
        features.append(
            Sequence(name=recent.name, side="user", max_length=recent.length, shares=shares)
        )
    for table in history.rates:
        placed = place(table, mapping, history)
        features.extend(placed.features)
    known = {f.name for f in features}
    if unknown := sorted(set(chosen.min_count) - known):
        raise DataError(f"[features] min_count: no feature {', '.join(unknown)}")
    for pattern in chosen.exclude:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise DataError(
                f"[features] exclude: {pattern!r} matches no feature of {sorted(known)}"
            )
    kept = tuple(f for f in features if not chosen.excludes(f.name))
    names = {f.name for f in kept}
    for feature in kept:
        shares = getattr(feature, "shares", None)
        if shares is not None and shares not in names:
            raise DataError(f"{feature.name} shares the ids of {shares}: exclude both or neither")
    return FeatureSchema(
        features=kept,
        attributes=tuple(_attributes(seen, mapping)),
        user_id_feature=_kept(mapping.user_id_feature, names),
        item_id_feature=_kept(mapping.item_id_feature, names),
    )


def _feature(column: FeatureColumn, seen: Seen, chosen: FeaturesConfig) -> Feature:
    if column.kind in NUMBERS:
        default = _default(column, seen)
        unit = "days" if column.kind == "age_days" else column.unit
        return Numeric(name=column.name, side=column.side, default=float(default), unit=unit)
    ids: dict[str, Any] = {"name": column.name, "side": column.side}
    if column.shares is not None:
        ids["shares"] = column.shares
    elif column.hash_buckets is not None:
        ids["hash_buckets"] = column.hash_buckets
    else:
        least = chosen.min_count.get(column.name, column.min_count)
        ids["vocabulary"] = _vocabulary(seen.counts[column.name], least)
    match column.kind:
        case "multi":
            return MultiValued(**ids, max_length=column.max_length)
        case "sequence":
            return Sequence(**ids, max_length=column.max_length)
    absent = None if column.default is None else str(column.default)
    return Categorical(**ids, default=absent)


def _vocabulary(counts: pl.DataFrame, least: int) -> tuple[str, ...]:
    """Values seen at least so often: most frequent first, equals in text order."""
    kept = counts.filter(pl.col("count") >= least)
    return tuple(kept.sort(["count", "value"], descending=[True, False])["value"])


def _attributes(seen: Seen, mapping: ColumnsConfig) -> Iterable[Attribute]:
    for column in mapping.features:
        if column.attribute:
            numbers = seen.numbers[column.name]
            yield Attribute(
                name=column.name,
                unit=column.unit,
                default=float(_default(column, seen)),
                min=numbers.least,
                max=numbers.most,
            )


def _default(column: FeatureColumn, seen: Seen) -> str | float:
    if column.default is not None:
        return column.default
    numbers = seen.numbers[column.name]
    if not len(numbers.sample):
        raise DataError(
            f"feature {column.name!r} has no value in the training rows, so it needs a default"
        )
    return round(float(np.median(numbers.sample)), 5)


def _kept(name: str | None, names: set[str]) -> str | None:
    return name if name in names else None
