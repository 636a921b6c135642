"""One request between its raw values and its heads, with an item cache or without one."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.contract.encode import Array, Column, Counts
from service.contract.features import FeatureSchema
from service.features.encoded import Encoded, encode
from service.features.resolve import Inline, RawValues, resolve
from service.features.store import Fetched
from service.features.versions import record_versions
from service.scoring.contents import contents
from service.scoring.graphs import (
    ITEM_PART,
    ITEM_SIDES,
    RANK_SIDES,
    USER_SIDES,
    CutGraphs,
    Part,
)
from service.scoring.item_cache import ItemCache, ItemRecords, Items
from service.scoring.item_slots import Lease
from service.scoring.kept import ByContent, Kept
from service.scoring.package import LoadedModel
from service.scoring.pieces import Crew, in_pieces, rows_of
from service.scoring.ranking import RankInput
from service.scoring.session import Heads, Stop

_PAIR_SIDES = (*USER_SIDES, *RANK_SIDES)
_NO_ITEMS = Encoded({}, {}, RawValues(Inline(None, ()), {}, {}, {}))


@dataclass(frozen=True)
class Prepared:
    """N candidates, encoded. `raw` holds all raw values unless a cache was asked by id.

    `blocks` are of the user, the context and the pairs, and of the items unless a cache was asked
    by id; then `items` are what it did not have, (M, …). `found`: what it has by content. Where
    somebody records what was used, `records` are those of `items`, and `versions` of all N.
    """

    blocks: Mapping[str, Array]
    attributes: Mapping[str, NDArray[np.float64]]
    raw: RawValues
    counts: Counts
    bad_features: int
    found: Lease | None = None
    items: Encoded | None = None
    uncertain: frozenset[int] = frozenset()  # of those M, the ones not to be kept
    records: ItemRecords | None = None
    versions: NDArray[np.int64] | None = None


def prepare(
    schema: FeatureSchema, request: RankInput, fetched: Fetched, kept: Kept | ByContent | None
) -> Prepared:
    """Encode what the cache does not have; everything unless it was asked by id.

    Args:
        schema: of the model.
        request: N candidates; where a cache was asked by id, none brings features.
        fetched: of all N candidates, or of those that the cache does not have.
        kept: what the cache has, or how it is asked.

    Raises:
        InlineError: a value of the request that its feature cannot take.
    """
    records = fetched.read()
    if not isinstance(kept, Kept):
        whole = encode(schema, resolve(schema, request.inline, records))
        bad = whole.bad_features + records.garbled
        found = None
        if kept is not None:
            found = kept.cache.look_up_contents(contents(schema, whole.blocks))
        return Prepared(whole.blocks, whole.attributes, whole.raw, whole.counts, bad, found)
    cache, lease = kept.cache, kept.lease
    inline, items = request.inline, _NO_ITEMS
    if len(lease.missing):
        inline = replace(inline, ids=lease.missing_ids)
    raw = resolve(schema, inline, records)
    if len(lease.missing):
        # names that nothing reads are counted once, with the user
        items = encode(schema, replace(raw, unknown=Counter()), ITEM_SIDES)
    kept_raw = cache.raw(lease, _raw(cache, items))
    pairs = RawValues(request.inline, raw.user, raw.context, kept_raw, raw.unknown)
    rest = encode(schema, pairs, _PAIR_SIDES)
    told = _records(kept, fetched, items)
    return Prepared(
        blocks=rest.blocks,
        attributes=cache.attributes(lease, items.attributes),
        raw=rest.raw,
        counts=_sum(rest.counts, items.counts) if len(lease.missing) else rest.counts,
        bad_features=items.bad_features + rest.bad_features + records.garbled,
        items=items,
        uncertain=items.bad_items | records.garbled_items,
        records=told,
        versions=None if told is None else cache.versions(lease, told.versions),
    )


def infer(
    model: LoadedModel,
    prepared: Prepared,
    kept: Kept | ByContent | None,
    rows: int,
    stop: Stop,
    crew: Crew | None = None,
) -> tuple[Heads, float]:
    """Heads of the N candidates; what the cache did not have is kept now.

    Idle threads of `crew` help: with the heads come the seconds by which they all worked longer
    than it took.

    Raises:
        RunFailed, RunStopped: see Session.run.
    """
    blocks = prepared.blocks
    if kept is None:
        heads, helped_s = in_pieces(
            rows, lambda some: model.graphs.run(rows_of(blocks, some), stop), crew
        )
        return _own(heads, rows), helped_s
    graphs, lease = model.graphs, kept.lease if isinstance(kept, Kept) else prepared.found
    assert isinstance(graphs, CutGraphs), "only a cut model has an item cache"
    assert lease is not None, "only what is prepared with the cache is scored with it"
    fresh, fresh_s = None, 0.0
    if missing := len(lease.missing):
        lacking = _lacking(model.schema, prepared, lease)
        parts, fresh_s = in_pieces(
            missing, lambda some: {ITEM_PART: graphs.item_part(rows_of(lacking, some), stop)}, crew
        )
        fresh = parts[ITEM_PART]
        kept.cache.tell(prepared.records)
    table, at = kept.cache.parts(lease, fresh)
    user = graphs.user_part(blocks, stop)
    heads, helped_s = in_pieces(
        rows, lambda some: graphs.heads(user, table, at[some], rows_of(blocks, some), stop), crew
    )
    kept.cache.check(lease)
    if fresh is not None:
        _learn(kept, model.schema, prepared, fresh)
    return _own(heads, rows), fresh_s + helped_s


def _lacking(schema: FeatureSchema, prepared: Prepared, lease: Lease) -> dict[str, Array]:
    """Item blocks of what the cache does not have."""
    if prepared.items is not None:
        return dict(prepared.items.blocks)
    return {
        name: block[lease.missing]
        for name, block in prepared.blocks.items()
        if schema.inputs[name][0] in ITEM_SIDES
    }


def _learn(kept: Kept | ByContent, schema: FeatureSchema, prepared: Prepared, fresh: Part) -> None:
    """Keep what `item.onnx` just gave."""
    if isinstance(kept, ByContent):
        assert prepared.found is not None, "only what is prepared with the cache is scored with it"
        kept.cache.keep_contents(prepared.found, fresh)
    elif kept.learns:
        assert prepared.items is not None, "only what is prepared with the cache is scored with it"
        _keep(kept, schema, prepared.items, fresh, prepared.uncertain, prepared.records)


def _own(heads: Heads, rows: int) -> Heads:
    """Copies: a view of what ONNX Runtime gave keeps the memory of its whole session, and whoever
    remembers answered requests would keep it for every model version that ever served.
    """
    table = np.array([values[:rows] for values in heads.values()])
    return dict(zip(heads, table, strict=True))


def fill(
    model: LoadedModel, kept: Kept, fetched: Fetched, used_at: Mapping[str, float] | None = None
) -> None:
    """Keep what the cache does not have, for no request; `fetched` holds no user.

    `used_at`: when the items were last used, by id.
    """
    assert isinstance(model.graphs, CutGraphs), "only a cut model has an item cache"
    records = fetched.read()
    raw = resolve(model.schema, Inline(None, kept.lease.missing_ids), records)
    items = encode(model.schema, raw, ITEM_SIDES)
    part = model.graphs.item_part(items.blocks)
    found = _records(kept, fetched, items)
    kept.cache.tell(found)
    uncertain = items.bad_items | records.garbled_items
    _keep(kept, model.schema, items, part, uncertain, found, used_at)


def _records(kept: Kept, fetched: Fetched, items: Encoded) -> ItemRecords | None:
    """What the cache did not have, for whoever listens to it."""
    if not kept.cache.has_listener:
        return None
    lease, versions = kept.lease, record_versions(fetched.items)
    return ItemRecords(lease.scene, lease.missing_ids, fetched.items, versions, items.blocks)


def _keep(
    kept: Kept,
    schema: FeatureSchema,
    items: Encoded,
    part: Part,
    uncertain: frozenset[int],
    records: ItemRecords | None,
    used_at: Mapping[str, float] | None = None,
) -> None:
    versions = None if records is None else records.versions
    raw, categories = _raw(kept.cache, items), _categories(schema, items)
    known = Items(part, items.attributes, raw, categories, versions)
    kept.cache.keep(kept.lease, known, set(range(len(part))) - uncertain, used_at)


def item_categories(
    schema: FeatureSchema, prepared: Prepared, kept: Kept | ByContent | None, names: Collection[str]
) -> dict[str, NDArray[np.integer]]:
    """Category -> (N,) encoded ids, 0 where that is not known; `names` are of `item_categories`."""
    if not names:
        return {}
    if not isinstance(kept, Kept):
        ids = prepared.blocks["item_ids"]
        return {name: ids[:, schema.item_categories[name]] for name in names}
    assert prepared.items is not None, "only what is prepared with the cache is scored with it"
    found = kept.cache.categories(kept.lease, _categories(schema, prepared.items))
    return {name: found[name] for name in names}


def _categories(schema: FeatureSchema, items: Encoded) -> NDArray[np.int32]:
    """(M, C) of M items, the columns as in `item_categories`."""
    columns = list(schema.item_categories.values())
    if not columns or "item_ids" not in items.blocks:
        return np.empty((items.raw.rows, len(columns)), np.int32)
    return items.blocks["item_ids"][:, columns]


def _raw(cache: ItemCache, items: Encoded) -> dict[str, Column]:
    return {name: items.raw.values("item", name) for name in cache.raw_names}


def _sum(first: Counts, second: Counts) -> Counts:
    return Counts(
        first.defaulted + second.defaulted,
        first.out_of_vocabulary + second.out_of_vocabulary,
        first.unknown + second.unknown,
    )
