"""Requests through the item cache give the bits that they give without it."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from service.commands.reranking import rerank_by_plan
from service.contract.repository import Repository
from service.features.store import FeatureStore, Fetched
from service.scoring.graphs import CutGraphs
from service.scoring.item_cache import ItemCache
from service.scoring.item_caches import ItemCaches
from service.scoring.kept import ByContent
from service.scoring.package import LoadedModel, load_package
from service.scoring.pool import ModelPool
from service.scoring.prepared import infer, prepare
from service.scoring.ranking import RankOutput
from service.scoring.scorer import Scorer
from service.scoring.session import Stop
from service.scoring.workers import Workers
from tests.scoring.conftest import asked, compiled
from tests.scoring.cut_packages import publish_cut
from tests.scoring.packages import raw_rows

ITEMS = 60


@pytest.fixture(scope="module")
def cut_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cut")
    publish_cut(root)
    return root


@pytest.fixture(scope="module")
def cut(cut_models: Path) -> LoadedModel:
    return load_package(Repository(cut_models), "cut", 1)


@pytest.fixture
def store(valkey: redis.Redis) -> None:
    """Users u0 … and items i0 … with features; some items have none, one is garbled, one bad."""
    for row, raw in enumerate(raw_rows(3, ITEMS)):
        user, item = raw["user"]["features"], raw["item"]["features"]
        valkey.set(f"finerank:f:feed:user:u{row}", orjson.dumps(user))
        if item:
            valkey.set(f"finerank:f:feed:item:i{row}", orjson.dumps(item))
    valkey.set("finerank:f:feed:item:i7", b"{")
    valkey.set("finerank:f:feed:item:i8", b'{"videolen_s": "long", "author_id": "a1"}')
    valkey.set("finerank:f:feed:item:i9", b'{"author_id": ["a", 1.5]}')


@pytest.fixture
async def scorers(
    cut_models: Path, workers: Workers, store: None, valkey_url: str
) -> AsyncIterator[tuple[Scorer, Scorer]]:
    """One with a cache, one without."""
    pool = ModelPool(Repository(cut_models))
    await pool.ensure(["cut/1"])
    features = FeatureStore.from_url(valkey_url, 5.0)
    items = ItemCaches(1 << 20, 60.0)
    cached = Scorer(pool, workers, features, items=items, reranker=rerank_by_plan)
    yield cached, Scorer(pool, workers, features, reranker=rerank_by_plan)
    await features.close()
    pool.close()


def same(found: RankOutput, expected: RankOutput) -> None:
    np.testing.assert_array_equal(found.order, expected.order)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.degraded == expected.degraded
    for head, values in expected.heads.items():
        np.testing.assert_array_equal(found.heads[head], values, err_msg=head)


def ids(*numbers: int) -> list[str]:
    return [f"i{n}" for n in numbers]


async def test_cold_warm_and_mixed_requests_give_the_bits_of_no_cache(
    scorers: tuple[Scorer, Scorer], cut_models: Path
) -> None:
    cached, plain = scorers
    snapshot = compiled(cut_models, model="cut/1")
    random = np.random.default_rng(0)
    for count in (1, 2, 7, 8, 9, 33, 60, 60):
        rows = random.permutation(ITEMS)[:count]
        request = asked(ids(*rows), user_id=f"u{random.integers(ITEMS)}")
        same(await cached.rank(request, snapshot), await plain.rank(request, snapshot))


async def test_rules_after_fusion_read_the_same_categories_with_the_cache(
    scorers: tuple[Scorer, Scorer], cut_models: Path
) -> None:
    cached, plain = scorers
    rules = {
        "caps": [{"by": "author_id", "most": 1, "window": 6}],
        "fresh": {"by": "videolen_s", "below": 30, "least": 3, "first": 5},
    }
    snapshot = compiled(cut_models, model="cut/1", rerank=rules)
    by_score = compiled(cut_models, model="cut/1")
    for count in (9, 33, 60, 60):
        request = asked(ids(*range(count)))
        found, expected = await cached.rank(request, snapshot), await plain.rank(request, snapshot)
        same(found, expected)
        assert found.reranked is not None
        assert expected.reranked is not None
        assert found.reranked.unmet == expected.reranked.unmet
        unruled = await plain.rank(request, by_score)
        assert found.order.tolist() != unruled.order.tolist()
        np.testing.assert_array_equal(found.scores, unruled.scores)


async def test_bad_records_are_counted_each_time_and_never_kept(
    scorers: tuple[Scorer, Scorer], cut_models: Path
) -> None:
    cached, plain = scorers
    snapshot = compiled(cut_models, model="cut/1")
    request = asked(ids(6, 7, 8, 9, 10))
    first = await cached.rank(request, snapshot)
    assert first.degraded == {"bad_feature": 3}
    same(await cached.rank(request, snapshot), first)
    same(first, await plain.rank(request, snapshot))


async def test_only_missing_items_are_asked_of_the_store(
    scorers: tuple[Scorer, Scorer], cut_models: Path, valkey: redis.Redis
) -> None:
    cached, _ = scorers
    snapshot = compiled(cut_models, model="cut/1")
    await cached.rank(asked(ids(1, 2, 3)), snapshot)
    # what the store holds now shows what is read again
    valkey.set("finerank:f:feed:item:i2", b'{"videolen_s": 1}')
    valkey.config_resetstat()
    await cached.rank(asked(ids(1, 2, 3, 4)), snapshot)
    stats: Any = valkey.info("commandstats")
    assert stats["cmdstat_mget"]["calls"] == 1
    keyspace: Any = valkey.info("stats")
    assert keyspace["keyspace_hits"] + keyspace["keyspace_misses"] == 2  # i4 and the user


async def test_changed_item_is_read_again_after_its_message(
    scorers: tuple[Scorer, Scorer], cut_models: Path, valkey: redis.Redis
) -> None:
    cached, plain = scorers
    snapshot, request = compiled(cut_models, model="cut/1"), asked(ids(1, 2, 3))
    before = await cached.rank(request, snapshot)
    valkey.set("finerank:f:feed:item:i2", b'{"videolen_s": 1}')
    same(await cached.rank(request, snapshot), before)
    assert cached.items is not None
    cached.items.forget("feed", ["i2"])
    after = await cached.rank(request, snapshot)
    same(after, await plain.rank(request, snapshot))
    assert after.scores[1] != before.scores[1]


async def test_inline_item_features_are_not_taken_for_what_is_kept_by_id(
    scorers: tuple[Scorer, Scorer], cut_models: Path
) -> None:
    cached, plain = scorers
    snapshot = compiled(cut_models, model="cut/1")
    await cached.rank(asked(ids(1, 2)), snapshot)
    request = asked(ids(1, 2), item_columns={"videolen_s": [500.0, None]})
    same(await cached.rank(request, snapshot), await plain.rank(request, snapshot))
    request = asked(ids(1, 2))
    same(await cached.rank(request, snapshot), await plain.rank(request, snapshot))


async def test_items_that_come_with_their_features_are_found_by_them(
    scorers: tuple[Scorer, Scorer], cut_models: Path
) -> None:
    cached, plain = scorers
    snapshot = compiled(cut_models, model="cut/1")
    lengths: list[float | None] = [5.0, 60.0, None, 60.0, 7.0, 8.0, 9.0, 10.0]

    async def found(number: int = 1, **given: Any) -> int | None:
        request = asked(ids(*range(number, number + 8)), **given)
        output = await cached.rank(request, snapshot)
        same(output, await plain.rank(request, snapshot))
        assert output.found_items is None
        return output.found_contents

    inline: dict[str, Any] = {"item_columns": {"videolen_s": lengths}}
    assert [await found(**inline) for _ in range(4)] == [0, 0, 1, 2]
    for _ in range(10):
        await found(**inline)
    assert await found(**inline) == 8
    assert await found(**inline, user_id="u3", context={"tab": 2}) == 8
    assert await found(**inline, explain=True) == 8
    changed = {"videolen_s": [*lengths[:7], 10.5]}
    assert await found(item_columns=changed) == 7
    # other items with the same features, but for the item's id that is one of them
    assert await found(21, **inline) == 0


async def test_explanations_by_id_ask_by_content_and_read_the_store(
    scorers: tuple[Scorer, Scorer], cut_models: Path, valkey: redis.Redis
) -> None:
    cached, plain = scorers
    snapshot = compiled(cut_models, model="cut/1")
    request = asked(ids(1, 2), explain=True)
    for _ in range(6):
        found = await cached.rank(request, snapshot)
        same(found, await plain.rank(request, snapshot))
        assert found.explained is not None
    assert found.found_contents == 2
    valkey.set("finerank:f:feed:item:i2", b'{"videolen_s": 1}')
    after = await cached.rank(request, snapshot)
    same(after, await plain.rank(request, snapshot))
    assert (after.found_contents, after.scores[1] != found.scores[1]) == (1, True)


COLUMNS = {
    "author_id": st.sampled_from([None, "a1", "a2", "a3"]),
    "tags": st.sampled_from([None, [], ["x"], ["x", "y"]]),
    "videolen_s": st.sampled_from([None, 0.0, -0.0, 20.0, 1e-30, 1e6]),
    "item_ctr_7d": st.sampled_from([None, 0.0, -0.0, 0.1, 3e38]),
}


@pytest.fixture(scope="module")
def cache(cut: LoadedModel) -> ItemCache:
    """Of 200 slots, so that some make room."""
    assert isinstance(cut.graphs, CutGraphs)
    width, now = cut.graphs.part_width, itertools.count(0, 11)
    slot = ItemCache(cut.schema, width, max_bytes=0, ttl_s=1).slot_bytes
    clock = lambda: float(next(now) // 8)  # noqa: E731
    return ItemCache(cut.schema, width, max_bytes=200 * slot, ttl_s=60, clock=clock)


@settings(max_examples=120, deadline=None)
@given(st.data(), st.integers(1, 40))
def test_parts_found_by_content_have_the_bits_of_parts_just_made(
    cut: LoadedModel, cache: ItemCache, data: st.DataObject, rows: int
) -> None:
    columns = {
        name: data.draw(st.lists(values, min_size=rows, max_size=rows))
        for name, values in COLUMNS.items()
    }
    names = [f"i{n}" for n in data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))]
    request = asked(names, item_columns=columns)
    nothing, heads = Fetched.nothing(rows), []
    for kept in (None, ByContent(cache), ByContent(cache), ByContent(cache)):
        prepared = prepare(cut.schema, request, nothing, kept)
        heads.append(infer(cut, prepared, kept, rows, Stop())[0])
    for found in heads[1:]:
        for head, values in heads[0].items():
            assert found[head].tobytes() == values.tobytes(), head
    assert cache.bytes <= 200 * cache.slot_bytes


async def test_defaults_of_an_outage_are_not_kept(
    scorers: tuple[Scorer, Scorer], cut_models: Path, workers: Workers
) -> None:
    cached, plain = scorers
    snapshot, request = compiled(cut_models, model="cut/1"), asked(ids(1, 2, 3))
    away = FeatureStore.from_url("redis://127.0.0.1:1", 0.5)
    store, cached._store = cached._store, away
    assert (await cached.rank(request, snapshot)).degraded == {"feature_store": 3}
    cached._store = store
    same(await cached.rank(request, snapshot), await plain.rank(request, snapshot))
    await away.close()


async def test_many_requests_at_once_share_the_cache(
    scorers: tuple[Scorer, Scorer], cut_models: Path
) -> None:
    cached, plain = scorers
    snapshot = compiled(cut_models, model="cut/1")
    random = np.random.default_rng(1)
    requests = [asked(ids(*random.permutation(ITEMS)[:20])) for _ in range(24)]
    found = await asyncio.gather(*(cached.rank(request, snapshot) for request in requests))
    for request, output in zip(requests, found, strict=True):
        same(output, await plain.rank(request, snapshot))


@pytest.mark.parametrize("inline", [{}, {"videolen_s": [float(n) for n in range(ITEMS + 500)]}])
async def test_a_request_that_many_threads_do_has_the_bits_of_one(
    scorers: tuple[Scorer, Scorer], cut_models: Path, inline: dict[str, list[float]]
) -> None:
    snapshot = compiled(cut_models, model="cut/1")
    request = asked(ids(*range(ITEMS), *range(100, 600)), item_columns=inline)
    crew = Workers(3)
    for scorer in scorers:
        expected = await scorer.rank(request, snapshot)
        one, scorer._workers = scorer._workers, crew
        while crew.idle < crew.threads:  # noqa: ASYNC110, threads set no event
            await asyncio.sleep(0.001)
        same(await scorer.rank(request, snapshot), expected)
        scorer._workers = one
    crew.close()


def test_golden_rows_go_through_the_three_graphs(cut: LoadedModel) -> None:
    assert cut.manifest.cut == "user/item/rank"
    assert type(cut.graphs).__name__ == "CutGraphs"


def test_the_whole_graph_is_loaded_when_asked_for(cut_models: Path) -> None:
    whole = load_package(Repository(cut_models), "cut", 1, whole=True)
    assert set(whole.graphs.run(whole.golden.encoded)) == set(whole.manifest.head_names)


async def test_heads_do_not_keep_the_memory_of_the_session(
    scorers: tuple[Scorer, Scorer], cut_models: Path
) -> None:
    snapshot = compiled(cut_models, model="cut/1")
    for scorer in scorers:
        output = await scorer.rank(asked(ids(1, 2, 3)), snapshot)
        assert output.evidence is not None
        for values in output.evidence.heads.values():
            assert values.base.flags.owndata  # not what ONNX Runtime allocated
