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
    await ahead.ready(NEXT)
    assert slow.calls == 2


async def test_a_refusal_that_nobody_asks_for_is_forgotten():
    slow, announced = Slow(), asyncio.Event()
    slow.broken = True
    ahead = Ahead(slow, announced.set)
    with pytest.raises(NotYet):
        await ahead.ready(NEXT, patience_s=0)
    ahead.forget()
    slow.let_go.set()
    await announced.wait()
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


async def test_closing_leaves_what_is_in_progress():
    slow = Slow()
    ahead = Ahead(slow, lambda: None)
    with pytest.raises(NotYet):
        await ahead.ready(NEXT, patience_s=0)
    await ahead.close()
    assert len(asyncio.all_tasks()) == 1
