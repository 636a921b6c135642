"""Work is let in by its seconds; overload is refused, a stall is not overload."""

import asyncio
import threading

import pytest

from service.scoring.admission import Admission, Overloaded, Ticket
from service.scoring.scorer import _Turn
from service.scoring.workers import Workers
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    """One thread, requests of 500 candidates and 10 ms of work, 2 ms kept for the answer."""
    admission = Admission(1, clock, reserve_s=0.002)
    admission.saw(500, 0.010)
    return admission


def overload(admission: Admission, clock: Clock) -> Admission:
    """Five times what one thread can do was offered for two seconds; nothing is in progress."""
    for _ in range(1000):
        clock.now += 0.002
        admission.enter(0.040).leave()
    return admission


@pytest.fixture
def overloaded(admission: Admission, clock: Clock) -> Admission:
    return overload(admission, clock)


def run(ticket: Ticket) -> Ticket:
    """As the workers do when a thread begins with it."""
    ticket.hand_over()
    ticket.started()
    return ticket


def end(ticket: Ticket) -> None:
    ticket.finished()
    ticket.leave()


def test_requests_are_let_in_until_their_work_fills_the_time(overloaded: Admission) -> None:
    for _ in range(3):
        overloaded.enter(0.040)
    with pytest.raises(Overloaded) as caught:
        overloaded.enter(0.040)
    assert str(caught.value) == (
        "the work accepted so far takes 30 ms and one more request 10 ms (±0 ms); 38 ms are left"
    )
    assert caught.value.retry_after_s == 1


def test_request_whose_time_is_up_is_told_that_none_is_left(overloaded: Admission) -> None:
    run(overloaded.enter(0.040))
    with pytest.raises(Overloaded, match=r"10 ms \(±0 ms\); 0 ms are left$"):
        overloaded.enter(0.001)  # less than what is kept for the answer


def test_patient_request_is_let_in_where_a_hurried_one_is_not(overloaded: Admission) -> None:
    for _ in range(3):
        overloaded.enter(0.040)
    overloaded.enter(5.0)


def test_work_of_patient_requests_is_not_in_the_way_of_hurried_ones(overloaded: Admission) -> None:
    for _ in range(50):
        overloaded.enter(5.0)
    overloaded.enter(0.040)


def test_two_threads_take_twice_the_work(clock: Clock) -> None:
    admission = Admission(2, clock, reserve_s=0.002)
    admission.saw(500, 0.010)
    overload(admission, clock)
    for _ in range(6):
        admission.enter(0.040)
    with pytest.raises(Overloaded):
        admission.enter(0.040)


def test_idle_service_lets_anything_in(clock: Clock) -> None:
    admission = Admission(1, clock)
    admission.saw(2000, 9.0)
    first = admission.enter(0.040)
    with pytest.raises(Overloaded):
        admission.enter(0.040)
    first.leave()
    admission.enter(0.040)


def test_place_is_free_again_when_a_request_is_answered(overloaded: Admission) -> None:
    tickets = [overloaded.enter(0.040) for _ in range(3)]
    tickets[0].leave()
    overloaded.enter(0.040)
    assert overloaded.in_progress == 3


def test_work_counts_until_the_thread_is_done_even_when_nobody_waits(
    admission: Admission, clock: Clock
) -> None:
    ticket = run(admission.enter(0.040))
    ticket.leave()
    assert admission.in_progress == 1
    clock.now += 0.001
    other = admission.enter(0.040)
    assert admission.wait_s(other) == pytest.approx(0.009)
    ticket.finished()
    assert admission.in_progress == 1
    assert admission.wait_s(other) == 0


def test_body_that_cannot_hold_many_candidates_brings_little_work(overloaded: Admission) -> None:
    for _ in range(3):
        overloaded.enter(0.040)
    overloaded.enter(0.040, body_bytes=200)
    with pytest.raises(Overloaded):
        overloaded.enter(0.040, body_bytes=5_000)


def test_bodies_that_never_come_take_no_room_after_their_deadline(
    overloaded: Admission, clock: Clock
) -> None:
    for _ in range(3):
        overloaded.enter(0.040)
    clock.now += 0.050
    overloaded.enter(0.040)


def test_number_of_requests_is_bounded_whatever_they_cost(clock: Clock) -> None:
    admission = Admission(1, clock, most_requests=5)
    for _ in range(5):
        admission.enter(0.040)
    with pytest.raises(Overloaded, match="5 requests are in progress; at most 5 are"):
        admission.enter(0.040)


def test_overdue_work_is_expected_to_last_as_long_again(admission: Admission, clock: Clock) -> None:
    run(admission.enter(0.040))
    clock.now += 0.025
    other = admission.enter(0.040)
    assert admission.wait_s(other) == pytest.approx(0.015)


def test_thread_that_stands_still_does_not_hide_the_other(clock: Clock) -> None:
    admission = Admission(2, clock, reserve_s=0.002)
    admission.saw(500, 0.010)
    run(admission.enter(5.0))
    clock.now += 0.300
    assert admission.wait_s(admission.enter(0.040)) == 0
    run(admission.enter(0.040))
    other = admission.enter(0.030)
    assert admission.wait_s(other) == pytest.approx(0.010)


def test_stall_refuses_nobody(admission: Admission, clock: Clock) -> None:
    run(admission.enter(5.0))
    clock.now += 0.100
    for _ in range(20):
        ticket = admission.enter(0.040)
        assert admission.wait_s(ticket) > 0.040


def test_burst_of_a_service_that_keeps_up_refuses_nobody(admission: Admission) -> None:
    for _ in range(15):
        ticket = admission.enter(0.040)
    assert admission.wait_s(ticket) > 0.040


def test_burst_that_not_even_the_input_order_could_answer_is_refused(admission: Admission) -> None:
    for _ in range(16):  # four times the 38 ms
        admission.enter(0.040)
    with pytest.raises(Overloaded, match="so far takes 160 ms"):
        admission.enter(0.040)


def test_what_is_refused_counts_as_offered(admission: Admission, clock: Clock) -> None:
    refused = 0
    for _ in range(500):
        clock.now += 0.005
        try:
            admission.enter(0.040)
        except Overloaded:
            refused += 1
    assert refused > 100
    assert admission.offered == pytest.approx(2, rel=0.05)


def test_load_of_half_a_second_ago_is_forgotten_by_two_thirds(
    overloaded: Admission, clock: Clock
) -> None:
    before = overloaded.offered
    clock.now += 0.5
    assert overloaded.offered == pytest.approx(before * 0.368, rel=0.01)


def test_threads_that_do_not_all_stand_still_are_no_stall(clock: Clock) -> None:
    admission = Admission(2, clock, reserve_s=0.002)
    admission.saw(500, 0.010)
    overload(admission, clock)
    run(admission.enter(5.0))
    clock.now += 0.100
    run(admission.enter(0.040))
    for _ in range(5):
        admission.enter(0.040)
    with pytest.raises(Overloaded):
        admission.enter(0.040)


def test_expectations_that_were_wrong_keep_the_next_requests_out_earlier(
    admission: Admission, clock: Clock
) -> None:
    for _ in range(200):  # each ends 6 ms after it was expected to
        ticket = run(admission.enter(0.040))
        clock.now += 0.016
        end(ticket)
    overload(admission, clock)
    for _ in range(3):
        admission.enter(0.040)
    with pytest.raises(Overloaded, match=r"\(±6 ms\)"):
        admission.enter(0.046)


def test_stall_that_is_over_leaves_no_one_out_for_long(admission: Admission, clock: Clock) -> None:
    for _ in range(20):
        ticket = run(admission.enter(0.040))
        clock.now += 0.500
        end(ticket)
    admission.enter(0.040)
    admission.enter(0.040)  # 20 of 38 ms, a quarter is kept at most


def test_request_that_turns_out_to_be_hurried_is_asked_again(overloaded: Admission) -> None:
    first = overloaded.enter(5.0)
    overloaded.settle(first, first.arrived_at + 0.038)
    assert overloaded.in_progress == 1
    for _ in range(2):
        overloaded.enter(0.040)
    late = overloaded.enter(5.0)
    with pytest.raises(Overloaded):
        overloaded.settle(late, late.arrived_at + 0.039)


def test_late_event_loop_takes_from_the_time_of_the_work(admission: Admission) -> None:
    before = admission.reserve_s
    admission.was_late(0.004)
    assert admission.reserve_s == pytest.approx(before + 0.004)
    for _ in range(200):
        admission.was_late(0.0)
    assert admission.reserve_s == pytest.approx(before, abs=1e-6)
    admission.was_late(3.0)
    assert admission.reserve_s <= before + 0.010


def test_backlog_is_all_accepted_work_per_thread(admission: Admission) -> None:
    assert admission.backlog_s() == 0
    admission.enter(0.040)
    admission.enter(5.0)
    assert admission.backlog_s() == pytest.approx(0.020)


def test_a_stall_that_is_over_refuses_nobody(admission: Admission, clock: Clock) -> None:
    for _ in range(3):
        stalled = run(admission.enter(0.040))
        clock.now += 0.200
        end(stalled)
    for _ in range(3):
        admission.enter(0.040)


def test_a_request_that_two_threads_do_keeps_both_for_half_the_time(clock: Clock) -> None:
    admission = Admission(2, clock, reserve_s=0.002)
    admission.saw(500, 0.010)
    alone = run(admission.enter(0.040))
    waiting = admission.enter(0.040)
    assert admission.wait_s(waiting) == 0.0
    alone.threads = 2
    assert admission.wait_s(waiting) == pytest.approx(0.005)
    assert admission.backlog_s() == pytest.approx(0.010)  # 10 ms each, on two threads
    clock.now += 0.004
    assert admission.wait_s(waiting) == pytest.approx(0.001)


def test_work_of_the_services_own_is_in_progress_and_no_load(admission: Admission) -> None:
    own = run(admission.enter(0.040, is_offered=False))
    assert admission.offered == 0
    assert admission.in_progress == 1
    assert admission.wait_s(admission.enter(0.040)) == pytest.approx(0.010)
    assert admission.offered > 0
    end(own)
    assert admission.in_progress == 1


def test_a_ticket_says_how_long_it_was_worked_on(admission: Admission, clock: Clock) -> None:
    ticket = admission.enter(0.040)
    clock.now += 0.005
    assert ticket.worked_s == 0
    run(ticket)
    clock.now += 0.002
    assert ticket.worked_s == pytest.approx(0.002)
    end(ticket)
    clock.now += 1.0
    assert ticket.worked_s == pytest.approx(0.002)


async def test_a_ticket_counts_the_threads_that_came_to_help(admission: Admission) -> None:
    workers, ticket = Workers(2), admission.enter(10)
    turn, seen = _Turn(ticket, workers, lambda _: None), list[int]()
    tasks = [lambda: seen.append(ticket.threads)] * 3
    while workers.idle < 2:  # noqa: ASYNC110, threads set no event
        await asyncio.sleep(0.001)
    busy, let_go = threading.Event(), threading.Event()
    other = asyncio.create_task(
        workers.run(lambda: (busy.set(), let_go.wait(10)), timeout_s=10, stop=let_go.set)
    )
    await asyncio.to_thread(busy.wait, 10)
    await workers.run(lambda: turn.share(tasks), timeout_s=10, stop=lambda: None)
    assert seen == [1, 1, 1]
    let_go.set()
    await other
    seen.clear()
    while workers.idle < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    both = threading.Barrier(2)
    together = [lambda: (both.wait(10), seen.append(ticket.threads))] * 2
    await workers.run(lambda: turn.share(together), timeout_s=10, stop=lambda: None)
    assert seen == [2, 2]
    assert ticket.threads == 1
    workers.close()
