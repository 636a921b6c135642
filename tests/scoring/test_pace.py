"""Work that no request waits for rests nine tenths of the time, and only beside requests."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from service.scoring.pace import UNPACED, Breaks, Pace


@dataclass(frozen=True)
class Written(Pace):
    """Writes down how much was worked, and never sleeps."""

    is_busy: Callable[[], bool] = lambda: True
    worked: list[float] = field(default_factory=list)

    def pauses(self, worked_s: float) -> Iterator[float]:
        self.worked.append(worked_s)
        return iter(())


def test_nothing_rests_where_no_requests_come_in() -> None:
    assert list(UNPACED.pauses(1.0)) == []


def test_beside_requests_a_ninth_of_a_core_is_taken() -> None:
    assert list(Pace(lambda: True).pauses(0.003)) == [0.024]


def test_long_work_does_not_rest_for_ever() -> None:
    assert list(Pace(lambda: True).pauses(30.0)) == [0.5]


def test_it_goes_on_when_a_thread_that_scores_is_free() -> None:
    free = iter([False, False, True])
    assert list(Pace(lambda: True, lambda: next(free)).pauses(0.01)) == [0.08, 0.001, 0.001]


def test_it_goes_on_though_no_thread_is_ever_free() -> None:
    pauses = list(Pace(lambda: True, lambda: False).pauses(0.01))
    assert pauses[:2] == [0.08, 0.001]


async def test_the_event_loop_gets_its_turn_without_requests_too() -> None:
    turns = []

    async def other() -> None:
        turns.append("other")

    task = asyncio.create_task(other())
    await UNPACED.rest(1.0)
    assert turns == ["other"]
    await task


def test_a_break_follows_the_cpu_time_since_the_last_one() -> None:
    pace = Written()
    breaks = Breaks(pace)
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    breaks()
    assert pace.worked[0] >= 0.02


def test_short_pieces_are_rested_for_together() -> None:
    pace = Written()
    breaks = Breaks(pace)
    began, pieces = time.thread_time(), 0
    while not pace.worked:
        breaks()
        pieces += 1
    assert pieces > 1
    assert 0.001 <= pace.worked[0] <= time.thread_time() - began + 0.001
