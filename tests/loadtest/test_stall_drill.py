"""The stall drill counts what users saw: late, unexplained, recovered."""

from loadtest.samples import Sample
from loadtest.stall_drill import judge


def reply(due_at: float, ms: float, *degraded: str, status: int = 200, **more: bool) -> Sample:
    return Sample(due_at, due_at, due_at + ms / 1000, status, 500, degraded, **more)


def steady(first: float, last: float) -> list[Sample]:
    return [reply(first + n / 100, 10) for n in range(int((last - first) * 100))]


def test_stall_that_is_answered_degraded_and_recovered_from_is_passed() -> None:
    struck = [reply(1 + n / 100, 37, "deadline") for n in range(20)]
    verdict = judge([*steady(0, 0.9), *struck, *steady(1.25, 2)], [1.0], 0.2, 0.040)
    assert verdict.passed
    assert (verdict.in_time, verdict.unexplained) == (1.0, 0)
    assert verdict.in_time_in_stalls == verdict.degraded_in_stalls == 1.0
    assert verdict.recovered_ms == [50.0]


def test_late_replies_fail_it_whether_degraded_or_full() -> None:
    for late in (reply(1.1, 50, "deadline"), reply(1.1, 50)):
        verdict = judge([*steady(0, 1), late, late], [], 0.2, 0.040)
        assert verdict.in_time < 0.99
        assert not verdict.passed


def test_refusal_must_say_when_to_come_back() -> None:
    polite = reply(0.5, 2, status=503, retry_after=True)
    assert judge([*steady(0, 1), polite], [], 0.2, 0.040).unexplained == 0
    for rude in (reply(0.5, 2, status=503), reply(0.5, 2, status=500), reply(0.5, 2, status=0)):
        assert judge([*steady(0, 1), rude], [], 0.2, 0.040).unexplained == 1


def test_service_that_stays_degraded_has_not_recovered() -> None:
    after = [reply(1 + n / 100, 10, "deadline") for n in range(100)]
    verdict = judge([*steady(0, 1), *after], [1.0], 0.2, 0.040)
    assert verdict.recovered_ms == [None]
    assert not verdict.passed
