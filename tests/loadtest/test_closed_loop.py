"""The closed loop keeps its connections busy and counts what came back."""

from collections import Counter

import pytest

from loadtest.closed_loop import closed_loop
from loadtest.samples import UNANSWERED, summarise
from loadtest.traffic import Body
from tests.loadtest.servers import DEGRADED, OK, CountedConnections, TinyServer

BODIES = [Body(b'{"n": 0}', 100), Body(b'{"n": 1}', 300)]


async def test_every_request_is_one_sample_and_bodies_take_turns() -> None:
    server = TinyServer()
    async with server.running() as target:
        samples = await closed_loop(target, BODIES, connections=3, seconds=0.2)
    assert len(samples) == len(server.bodies) > 10
    counted = Counter(server.bodies)
    assert abs(counted[BODIES[0].content] - counted[BODIES[1].content]) <= 1
    assert Counter(s.candidates for s in samples) == {
        100: counted[BODIES[0].content],
        300: counted[BODIES[1].content],
    }


async def test_at_most_that_many_are_in_flight() -> None:
    server = TinyServer()
    async with server.running() as target:
        samples = await closed_loop(target, BODIES, connections=2, seconds=0.1)
    for one in samples:
        assert sum(s.sent_at <= one.sent_at < s.done_at for s in samples) <= 2


async def test_refused_degraded_and_full_replies_are_told_apart() -> None:
    replies = [
        ("200 OK", b"Server-Timing: parse;dur=0.5, infer;dur=7\r\n", OK),
        ("200 OK", b"", DEGRADED),
        ("503 Service Unavailable", b"Retry-After: 1\r\n", b"{}"),
    ]
    server = TinyServer(answer=lambda number: replies[min(number, 2)])
    async with server.running() as target:
        samples = await closed_loop(target, BODIES, connections=1, seconds=0.1)
    summary = summarise(samples, 0.1)
    assert summary["statuses"] == {"200": 2, "503": len(samples) - 2}
    assert summary["degraded"] == {"feature_store": 1, "deadline": 1}
    assert summary["full"] == 1
    assert summary["refused"] == summary["refused_with_retry_after"] == len(samples) - 2
    assert summary["stages_ms"] == {"parse": 0.5, "infer": 7.0}


async def test_a_lost_connection_is_counted_and_the_run_goes_on() -> None:
    server = TinyServer(hang_up_at=2)
    async with server.running() as target:
        samples = await closed_loop(target, BODIES, connections=1, seconds=0.3)
    assert [n for n, s in enumerate(samples) if s.status == UNANSWERED] == [2]
    assert len(samples) > 3


async def test_a_loop_that_can_only_wait_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is over while one connection has its last reply and the other awaits its own."""
    monkeypatch.setattr("loadtest.closed_loop.Connections", CountedConnections)
    monkeypatch.setattr(CountedConnections, "waits", 0)
    server = TinyServer(takes_s=0.1)
    async with server.running() as target:
        samples = await closed_loop(target, BODIES, connections=2, seconds=0.05)
    assert len(samples) == len(server.bodies) == 2
    assert CountedConnections.waits <= 6


async def test_a_server_that_never_answers_ends_with_the_run() -> None:
    server = TinyServer(stall=(0, 60.0))
    async with server.running() as target:
        samples = await closed_loop(target, BODIES, connections=2, seconds=0.05, patience_s=0.05)
    assert [s.status for s in samples] == [UNANSWERED] * 2
