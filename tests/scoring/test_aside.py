"""Scoring on the side gives the heads that an answer would get, and yields to requests."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.contract.repository import Repository
from service.fusion import Formula, compile_formula
from service.scoring.aside import Aside, Busy
from service.scoring.errors import RunStopped
from service.scoring.pool import ModelPool
from service.scoring.ranking import RankInput
from service.scoring.workers import Workers
from tests.scoring.packages import publish_tiny

ROWS = 40
REQUEST = RankInput("r-1", "feed", [f"i{n}" for n in range(ROWS)], deadline=0.0, user_id="u1")


@dataclass(frozen=True)
class Given:
    """A treatment as far as scoring reads one."""

    model: str
    formula: Formula = field(default_factory=lambda: compile_formula("ctr + vcr", heads=HEADS))

    def scalars(self, user: Any, context: Any) -> dict[str, float]:
        return {}


HEADS = ("ctr", "cvr", "ctcvr", "vcr", "like")


@pytest.fixture
async def aside(tmp_path: Path) -> AsyncIterator[Aside]:
    publish_tiny(tmp_path)
    publish_tiny(tmp_path, "slow", slow_above=32)  # a run of 40 rows ends when it is stopped
    pool, workers = ModelPool(Repository(tmp_path)), Workers(1)
    await pool.ensure(["tiny/1", "slow/1"])
    yield Aside(pool, workers, None)
    workers.close()
    pool.close()


async def until_busy(aside: Aside) -> None:
    began = time.monotonic()
    while aside.workers.idle:
        assert time.monotonic() - began < 10
        await asyncio.sleep(0.01)


async def test_a_request_is_scored_under_the_treatment_it_is_given(aside: Aside) -> None:
    scored = await aside.score(REQUEST, Given("tiny/1"))  # type: ignore[arg-type]
    expected = scored.heads["ctr"].astype(float) + scored.heads["vcr"]
    assert scored.scores == pytest.approx(expected)
    assert len(scored.scores) == ROWS


async def test_a_request_that_needs_the_thread_stops_it(aside: Aside) -> None:
    scoring = asyncio.create_task(
        aside.score(REQUEST, Given("slow/1"))  # type: ignore[arg-type]
    )
    await until_busy(aside)
    answered = await aside.workers.run(lambda: True, timeout_s=10, stop=lambda: None)
    assert answered
    with pytest.raises(RunStopped):
        await scoring


async def test_it_does_not_begin_without_a_free_thread_or_its_model(aside: Aside) -> None:
    with pytest.raises(Busy):
        await aside.score(REQUEST, Given("gone/1"))  # type: ignore[arg-type]
    let_go = asyncio.Event()
    loop = asyncio.get_running_loop()
    wait = asyncio.run_coroutine_threadsafe
    busy = asyncio.create_task(
        aside.workers.run(
            lambda: wait(let_go.wait(), loop).result(10), timeout_s=10, stop=lambda: None
        )
    )
    await until_busy(aside)
    with pytest.raises(Busy):
        await aside.score(REQUEST, Given("tiny/1"))  # type: ignore[arg-type]
    let_go.set()
    assert await busy
