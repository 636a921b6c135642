"""Serving records: what a user or item is known by on a day, equal to what a training row saw."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any, Literal, get_args

import polars as pl

from training.data import recent
from training.data.assemble import Assembled, raw_column
from training.data.config import FeaturesConfig
from training.data.history_config import HistoryConfig
from training.data.layout import Own, Pair, place_all
from training.data.log import Record
from training.data.tables import DAY, ID, ITEM, ORDER, ROW, USER

RecordSide = Literal["user", "item"]
SIDES: tuple[RecordSide, ...] = get_args(RecordSide)


def of_side(
    side: RecordSide,
    assembled: Assembled,
    history: HistoryConfig,
    chosen: FeaturesConfig,
    as_of: int,
) -> Iterator[Record]:
    """One record for each user (or item) of the side table and the log up to `as_of`, in id order.

    Features: own columns (where only the log has them: the newest impression's), past means, maps
    for lookups, recent items. What is absent is left out.
    """
    static = _static(side, assembled, as_of)
    mapping = assembled.mapping
    columns: dict[str, list[Any]] = {}
    days = pl.repeat(as_of, len(static), eager=True)
    tables = list(place_all(mapping, history, chosen))
    looked_up = {placed.lookup.key for placed in tables if isinstance(placed, Pair)}
    own_id = mapping.user_id_feature if side == "user" else mapping.item_id_feature
    for feature in mapping.features:
        read = not chosen.excludes(feature.name) or feature.attribute or feature.name in looked_up
        if feature.side == side and feature.name != own_id and read:
            raw = raw_column(feature, static[feature.name], days)
            columns[feature.name] = [None if v != v else v for v in raw.tolist()]
    ids = static[ID].to_list()
    if own_id is not None:
        static = static.with_columns(pl.col(ID).alias(own_id))
    if side == "user":
        for wanted in (r for r in history.recent if not chosen.excludes(r.name)):
            where = None if wanted.where is None else assembled.positive(wanted.where)
            lists = recent.as_of(assembled.frame, as_of, wanted.length, where)
            columns[wanted.name] = [lists.get(id_, []) for id_ in ids]
    for placed in tables:
        if isinstance(placed, Own) and placed.side == side:
            columns |= _own(placed, assembled, static, as_of)
        elif isinstance(placed, Pair) and placed.lookup.source_side == side:
            columns[placed.lookup.source] = _maps(placed, assembled, static, as_of)
    names = list(columns)
    rows = zip(*columns.values(), strict=True) if columns else repeat((), len(ids))
    for id_, values in zip(ids, rows, strict=True):
        yield {"id": id_} | {n: v for n, v in zip(names, values, strict=True) if v is not None}


def _static(side: RecordSide, assembled: Assembled, as_of: int) -> pl.DataFrame:
    """@id and the side's own columns, typed, one row each."""
    key = USER if side == "user" else ITEM
    ids = (assembled.mapping.user_id_feature, assembled.mapping.item_id_feature)
    features = [f.name for f in assembled.mapping.features if f.side == side and f.name not in ids]
    seen = assembled.frame.filter(pl.col(DAY) <= as_of).sort(DAY, ORDER, ROW)
    seen = seen.unique(key, keep="last", maintain_order=True).select(
        pl.col(key).alias(ID), *features
    )
    beside = assembled.sides.get(side)
    if beside is not None:
        unseen = beside.join(seen, on=ID, how="anti")
        seen = pl.concat([seen, unseen], how="diagonal")
    numeric = pl.col(ID).cast(pl.Int64, strict=False)
    return seen.sort(numeric, ID, nulls_last=True)


def _own(
    placed: Own, assembled: Assembled, static: pl.DataFrame, as_of: int
) -> dict[str, list[Any]]:
    key = placed.rates.keys[0]
    known = placed.rates.as_of(assembled.frame, assembled.labels, as_of)
    joined = static.select(key).join(known, on=key, how="left", maintain_order="left")
    return {
        feature.name: joined[column].fill_null(feature.default).to_list()
        for feature, column in zip(placed.features, placed.rates.columns, strict=True)
    }


def _maps(placed: Pair, assembled: Assembled, static: pl.DataFrame, as_of: int) -> list[Any]:
    source = placed.rates.keys[0]
    known = placed.rates.as_of(assembled.frame, assembled.labels, as_of)
    entries = known.select(*placed.rates.keys, pl.concat_list(placed.rates.columns))
    maps: dict[str, dict[str, list[float]]] = {}
    for owner, looked_up, numbers in zip(*(c.to_list() for c in entries), strict=True):
        maps.setdefault(owner, {})[looked_up] = numbers
    return [maps.get(owner) for owner in static[source].to_list()]
