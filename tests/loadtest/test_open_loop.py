"""The open loop asks on schedule whatever the server does, and counts every wait from it."""

import numpy as np
import pytest

from loadtest.closed_loop import closed_loop
from loadtest.open_loop import open_loop, schedule
from loadtest.samples import UNANSWERED, summarise
from loadtest.traffic import Body
from tests.loadtest.servers import CountedConnections, TinyServer

BODIES = [Body(b"{}", 1)]
STALL_S = 0.3


async def test_a_stall_is_in_the_latency_of_every_request_due_meanwhile() -> None:
    due = schedule(200, 0.8, arrivals="even")
    server = TinyServer(stall=(40, STALL_S))
    async with server.running() as target:
        samples = await open_loop(target, BODIES, due, connections=4)
    stalled = max(samples, key=lambda s: s.done_at - s.sent_at)
    ended = stalled.sent_at + STALL_S - 0.001  # a timer may fire a tick early
    due_meanwhile = [s for s in samples if stalled.sent_at < s.due_at < ended]
    # 200 * 0.3: the schedule went on, although only four of them had a connection to wait on.
    assert len(due_meanwhile) in (59, 60)
    for one in due_meanwhile:
        assert one.latency_ms >= (ended - one.due_at) * 1e3
    assert len(server.bodies) == len(due) == len(samples)


async def test_a_closed_loop_would_have_left_that_stall_out() -> None:
    server = TinyServer(stall=(40, STALL_S))
    async with server.running() as target:
        samples = await closed_loop(target, BODIES, connections=4, seconds=0.8)
    slow = [s for s in samples if s.latency_ms > STALL_S * 1e3 / 2]
    assert len(slow) <= 8


async def test_what_is_never_answered_is_a_sample_too() -> None:
    due = schedule(100, 0.1, arrivals="even")
    server = TinyServer(stall=(5, 60.0))
    async with server.running() as target:
        samples = await open_loop(target, BODIES, due, connections=2, drain_s=0.05)
    assert [s.status for s in samples] == [200] * 5 + [UNANSWERED] * 5
    assert all(s.latency_ms >= 50 for s in samples[5:])
    assert samples[-1].sent_at is None
    assert summarise(samples, 0.1)["full"] == 5


async def test_a_loop_that_can_only_wait_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """More requests are due than connections are free, then all were sent."""
    monkeypatch.setattr("loadtest.open_loop.Connections", CountedConnections)
    monkeypatch.setattr(CountedConnections, "waits", 0)
    due = schedule(200, 0.2, arrivals="even")
    server = TinyServer(stall=(30, 0.3))
    async with server.running() as target:
        samples = await open_loop(target, BODIES, due, connections=2)
    assert CountedConnections.waits <= 3 * len(samples) + 6


async def test_a_lost_connection_costs_one_request_and_is_replaced() -> None:
    server = TinyServer(hang_up_at=3)
    async with server.running() as target:
        samples = await open_loop(
            target, BODIES, schedule(200, 0.1, arrivals="even"), connections=1
        )
    assert [n for n, s in enumerate(samples) if s.status == UNANSWERED] == [3]


def test_even_arrivals_are_evenly_spaced() -> None:
    np.testing.assert_allclose(schedule(4, 1.0, arrivals="even"), [0, 0.25, 0.5, 0.75])


@pytest.mark.parametrize("seed", [1, 2])
def test_poisson_arrivals_have_the_rate_and_the_spread_of_independent_users(seed: int) -> None:
    instants = schedule(100, 200.0, seed=seed)
    gaps = np.diff(instants)
    assert instants[-1] < 200
    assert len(instants) == pytest.approx(20_000, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    np.testing.assert_array_equal(instants, schedule(100, 200.0, seed=seed))
