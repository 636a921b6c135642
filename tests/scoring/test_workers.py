"""Work runs on a fixed number of threads, and nobody waits for it longer than they said."""

import asyncio
import threading
import weakref
from collections.abc import Iterator

import pytest

from service.scoring.workers import MOST_ASIDE, Late, Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(1)
    yield workers
    workers.close()


def never() -> None:
    pytest.fail("nobody should have been told to stop")


async def occupied(workers: Workers, let_go: threading.Event) -> "asyncio.Task[bool]":
    """The only thread, busy until `let_go` is set."""
    begun = threading.Event()

    def work() -> bool:
        begun.set()
        return let_go.wait(10)

    task = asyncio.create_task(workers.run(work, timeout_s=10, stop=let_go.set))
    await asyncio.to_thread(begun.wait)
    return task


async def test_work_runs_on_a_scoring_thread(workers: Workers) -> None:
    name = await workers.run(lambda: threading.current_thread().name, timeout_s=10, stop=never)
    assert name.startswith("score")


async def test_error_of_the_work_reaches_the_caller(workers: Workers) -> None:
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 / 0, timeout_s=10, stop=never)


async def test_no_time_left_means_no_work(workers: Workers) -> None:
    started = []
    with pytest.raises(Late):
        await workers.run(lambda: started.append(1), timeout_s=0.0, stop=never)
    assert started == []


async def test_late_work_is_told_to_stop(workers: Workers) -> None:
    stop = threading.Event()
    with pytest.raises(Late):
        await workers.run(lambda: stop.wait(10), timeout_s=0.01, stop=stop.set)
    assert stop.is_set()


async def test_work_whose_time_is_up_before_a_thread_is_free_never_starts(
    workers: Workers,
) -> None:
    let_go, started = threading.Event(), []
    first = await occupied(workers, let_go)
    with pytest.raises(Late):
        await workers.run(lambda: started.append(1), timeout_s=0.01, stop=lambda: None)
    let_go.set()
    await first
    assert await workers.run(lambda: "next", timeout_s=10, stop=never) == "next"
    assert started == []


async def test_caller_that_goes_away_stops_its_work(workers: Workers) -> None:
    stop = threading.Event()
    waiting = asyncio.create_task(workers.run(lambda: stop.wait(10), timeout_s=10, stop=stop.set))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stop.is_set()


async def test_no_more_work_at_once_than_threads() -> None:
    workers = Workers(2)
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1

    await asyncio.gather(*(workers.run(work, timeout_s=10, stop=never) for _ in range(12)))
    assert most <= 2
    workers.close()


async def test_urgent_work_goes_before_patient_work_that_came_earlier(workers: Workers) -> None:
    let_go, done = threading.Event(), []
    first = await occupied(workers, let_go)
    rest = [
        asyncio.create_task(workers.run(lambda n=n: done.append(n), timeout_s=n, stop=never))
        for n in (30, 10, 20)
    ]
    await asyncio.sleep(0)
    let_go.set()
    await asyncio.gather(first, *rest)
    assert done == [10, 20, 30]


class Told:
    """A turn that notes what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.over = asyncio.Event()

    def started(self) -> None:
        self.events.append("started")

    def finished(self) -> None:
        self.events.append("finished")
        self.over.set()


async def test_turn_ends_when_the_work_does_not_when_the_caller_stops_waiting(
    workers: Workers,
) -> None:
    let_go, told = threading.Event(), Told()
    with pytest.raises(Late):
        await workers.run(lambda: let_go.wait(10), timeout_s=0.2, stop=lambda: None, turn=told)
    assert told.events == ["started"]
    let_go.set()
    await told.over.wait()
    assert told.events == ["started", "finished"]


async def test_turn_of_work_that_never_began_ends_too(workers: Workers) -> None:
    let_go, told = threading.Event(), Told()
    first = await occupied(workers, let_go)
    with pytest.raises(Late):
        await workers.run(never, timeout_s=0.01, stop=lambda: None, turn=told)
    await told.over.wait()
    assert told.events == ["finished"]
    let_go.set()
    await first


async def test_work_on_the_side_is_done_when_nothing_else_waits(workers: Workers) -> None:
    let_go, done, order = threading.Event(), threading.Event(), []
    first = await occupied(workers, let_go)
    assert workers.idle == 0
    assert workers.offer(lambda: (order.append("aside"), done.set()), never)
    urgent = asyncio.create_task(
        workers.run(lambda: order.append("urgent"), timeout_s=10, stop=never)
    )
    await asyncio.sleep(0)
    let_go.set()
    await asyncio.gather(first, urgent)
    assert await asyncio.to_thread(done.wait, 10)
    assert order == ["urgent", "aside"]


async def test_work_on_the_side_is_stopped_when_a_request_needs_its_thread(
    workers: Workers,
) -> None:
    begun, stopped = threading.Event(), threading.Event()
    assert workers.offer(lambda: (begun.set(), stopped.wait(10)), stopped.set)
    assert await asyncio.to_thread(begun.wait, 10)
    assert await workers.run(lambda: stopped.is_set(), timeout_s=10, stop=never)


async def test_work_on_the_side_leaves_the_other_threads_alone() -> None:
    workers = Workers(2)
    begun, let_go, stopped = threading.Event(), threading.Event(), []
    assert workers.offer(lambda: (begun.set(), let_go.wait(10)), lambda: stopped.append(1))
    assert workers.offer(let_go.set, never)  # not beside the first
    assert await asyncio.to_thread(begun.wait, 10)
    assert not await workers.run(let_go.is_set, timeout_s=10, stop=never)
    assert stopped == []
    let_go.set()
    workers.close()


async def test_no_more_work_is_kept_on_the_side_than_fits(workers: Workers) -> None:
    let_go = threading.Event()
    busy = await occupied(workers, let_go)
    offered = [workers.offer(lambda: None, never) for _ in range(MOST_ASIDE + 1)]
    assert offered == [True] * MOST_ASIDE + [False]
    let_go.set()
    await busy


async def test_a_thread_that_waits_keeps_nothing_of_the_work_before(workers: Workers) -> None:
    class Model:
        pass

    model = Model()
    gone = weakref.ref(model)
    await workers.run(lambda model=model: model and None, timeout_s=10, stop=never)
    del model
    for _ in range(1000):
        if gone() is None:
            break
        await asyncio.sleep(0.01)
    assert gone() is None


@pytest.fixture
def three() -> Iterator[Workers]:
    workers = Workers(3)
    yield workers
    workers.close()


async def all_idle(workers: Workers) -> None:
    while workers.idle < workers.threads:  # noqa: ASYNC110, threads set no event
        await asyncio.sleep(0.001)


async def test_idle_threads_take_a_share(three: Workers) -> None:
    together, names = threading.Barrier(3), set()

    def task() -> None:
        together.wait(10)  # only three threads at once get past it
        names.add(threading.current_thread().name)

    await all_idle(three)
    assert await three.run(lambda: three.share([task] * 3), timeout_s=20, stop=never) > 0
    assert len(names) == 3


async def test_one_thread_alone_does_all_that_is_shared(workers: Workers) -> None:
    done: list[int] = []
    tasks = [lambda n=n: done.append(n) for n in range(5)]
    await workers.run(lambda: workers.share(tasks), timeout_s=10, stop=never)
    assert done == [0, 1, 2, 3, 4]


async def test_whoever_shares_is_told_of_each_thread_that_joins(three: Workers) -> None:
    together, joined = threading.Barrier(3), list[int]()
    await all_idle(three)
    tasks = [lambda: together.wait(10)] * 3
    await three.run(lambda: three.share(tasks, joined.append), timeout_s=20, stop=never)
    assert joined == [1, 2, 3]


async def test_a_thread_without_helpers_is_one_that_joins(workers: Workers) -> None:
    joined = list[int]()
    tasks = [lambda: None] * 5
    await workers.run(lambda: workers.share(tasks, joined.append), timeout_s=10, stop=never)
    assert joined == [1]


async def test_busy_threads_are_not_waited_for(three: Workers) -> None:
    await all_idle(three)
    let_go = threading.Event()
    busy = [asyncio.create_task(three.run(let_go.wait, timeout_s=10, stop=never)) for _ in "ab"]
    while three.idle > 1:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    names: list[str] = []

    def task() -> None:
        names.append(threading.current_thread().name)

    await three.run(lambda: three.share([task] * 4), timeout_s=10, stop=never)
    assert len(set(names)) == 1  # the two others have work of their own
    let_go.set()
    await asyncio.gather(*busy)


async def test_first_error_in_a_share_is_the_one_that_is_raised(three: Workers) -> None:
    await all_idle(three)
    both, failed = threading.Barrier(2), threading.Event()

    def first() -> None:
        both.wait(10)
        raise ZeroDivisionError("first")

    def second() -> None:
        both.wait(10)
        failed.wait(0.2)
        raise KeyError("second")

    with pytest.raises(ZeroDivisionError, match="first"):
        await three.run(lambda: three.share([first, second]), timeout_s=20, stop=never)


async def test_error_in_a_share_reaches_the_one_who_shared(three: Workers) -> None:
    await all_idle(three)
    both = threading.Barrier(2)

    def fails() -> None:
        both.wait(10)
        raise ZeroDivisionError("in a piece")

    def works() -> None:
        both.wait(10)

    with pytest.raises(ZeroDivisionError, match="in a piece"):
        await three.run(lambda: three.share([works, fails]), timeout_s=20, stop=never)
    await all_idle(three)
    assert await three.run(lambda: 1, timeout_s=10, stop=never) == 1
