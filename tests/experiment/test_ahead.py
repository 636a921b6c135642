"""Models are prepared beside the loader: it is told when to look again, and why one is refused."""

import asyncio
from dataclasses import dataclass

import pytest

from service.contract.errors import PackageError
from service.experiment.ahead import Ahead, NotYet


@dataclass(frozen=True)
class Coming:
    scene: str = "feed"
    models: frozenset[str] = frozenset(["toy/2"])


NEXT = Coming()


class Slow:
    """Prepares when it is let go; fails while it is `broken`."""

    def __init__(self) -> None:
        self.let_go, self.broken, self.calls = asyncio.Event(), False, 0

    async def __call__(self, coming: Coming) -> None:
        self.calls += 1
        await self.let_go.wait()
        if self.broken:
            raise PackageError(f"{min(coming.models)}: truncated")


async def test_models_that_are_ready_soon_are_waited_for():
    slow = Slow()
    slow.let_go.set()
    await Ahead(slow, lambda: None).ready(NEXT)
    assert slow.calls == 1


async def test_others_are_prepared_once_at_a_time_and_announced():
    slow, announced = Slow(), asyncio.Event()
    ahead = Ahead(slow, announced.set)
    for _ in range(3):
        with pytest.raises(NotYet):
            await ahead.ready(NEXT, patience_s=0)
    assert slow.calls == 1
    slow.let_go.set()
    await announced.wait()
    await ahead.ready(NEXT, patience_s=0)


async def test_what_was_ready_once_is_made_ready_again():
    slow, announced = Slow(), asyncio.Event()
    ahead = Ahead(slow, announced.set)
    with pytest.raises(NotYet):
        await ahead.ready(NEXT, patience_s=0)
    slow.let_go.set()
    await announced.wait()
    slow.let_go.clear()  # nobody came for the model, and it was dropped
    with pytest.raises(NotYet):
        await ahead.ready(NEXT, patience_s=0)
    slow.let_go.set()
    await ahead.ready(NEXT, patience_s=None)
    assert slow.calls == 2


async def test_a_refusal_that_nobody_asks_for_is_forgotten():
    slow, announced = Slow(), asyncio.Event()
    slow.broken = True
    ahead = Ahead(slow, announced.set)
    with pytest.raises(NotYet):
        await ahead.ready(NEXT, patience_s=0)
    slow.let_go.set()
    await announced.wait()
    for _ in range(2):
        ahead.forget()
    slow.broken = False
    await ahead.ready(NEXT)
    assert slow.calls == 2


async def test_each_scene_is_made_ready_for_itself():
    slow = Slow()
    slow.let_go.set()
    ahead = Ahead(slow, lambda: None)
    await ahead.ready(NEXT)
    await ahead.ready(Coming(scene="search"))
    assert slow.calls == 2


async def test_refusal_reaches_the_next_who_asks_and_is_tried_again_after():
    slow, announced = Slow(), asyncio.Event()
    slow.broken = True
    ahead = Ahead(slow, announced.set)
    with pytest.raises(NotYet):
        await ahead.ready(NEXT, patience_s=0)
    slow.let_go.set()
    await announced.wait()
    with pytest.raises(PackageError, match="toy/2: truncated"):
        await ahead.ready(NEXT)
    slow.broken = False
    await ahead.ready(NEXT)
    assert slow.calls == 2


async def test_what_was_in_progress_before_is_not_waited_for():
    slow = Slow()
    ahead = Ahead(slow, lambda: None)
    with pytest.raises(NotYet):
        await ahead.ready(NEXT, patience_s=0)
    async with asyncio.timeout(30):
        with pytest.raises(NotYet):
            await ahead.ready(NEXT, patience_s=3_600)
    slow.let_go.set()
    await ahead.ready(NEXT, patience_s=None)


async def test_what_was_superseded_is_left_and_says_nothing():
    slow, announced = Slow(), list[int]()
    ahead = Ahead(slow, lambda: announced.append(1))
    for version in range(2, 12):
        with pytest.raises(NotYet):
            await ahead.ready(Coming(models=frozenset([f"toy/{version}"])), patience_s=0)
        await asyncio.sleep(0)  # it has begun
        ahead.forget()
        await asyncio.sleep(0.01)  # the one before has ended
        assert len(asyncio.all_tasks()) == 2
    assert (slow.calls, announced) == (10, [])
    slow.let_go.set()
    await ahead.ready(Coming(models=frozenset(["toy/11"])), patience_s=None)
    assert (slow.calls, announced) == (10, [1])


async def test_what_was_left_begins_anew_when_it_comes_back():
    slow = Slow()
    ahead = Ahead(slow, lambda: None)
    with pytest.raises(NotYet):
        await ahead.ready(NEXT)
    ahead.forget()
    ahead.forget()
    slow.let_go.set()
    await ahead.ready(NEXT)
    assert slow.calls == 2


async def test_what_is_ready_at_once_is_not_announced():
    slow, announced = Slow(), list[int]()
    slow.let_go.set()
    ahead = Ahead(slow, lambda: announced.append(1))
    for _ in range(3):
        await ahead.ready(NEXT)
    await asyncio.sleep(0)
    assert announced == []


async def test_closing_leaves_what_is_in_progress():
    slow = Slow()
    ahead = Ahead(slow, lambda: None)
    with pytest.raises(NotYet):
        await ahead.ready(NEXT, patience_s=0)
    await ahead.close()
    assert len(asyncio.all_tasks()) == 1
