"""What starts is waited for, unless the process is told to end: then it is cancelled."""

import asyncio
import threading

import pytest

from service.commands.starting import started


async def test_a_start_that_comes_to_its_end_is_waited_for() -> None:
    done = []

    async def start() -> None:
        await asyncio.sleep(0)
        done.append("all")

    assert await started(start(), lambda: False)
    assert done == ["all"]


async def test_a_start_that_never_ends_is_cancelled_when_the_process_leaves() -> None:
    leaving, left = threading.Event(), []

    async def start() -> None:
        leaving.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            left.append("cleanly")
            raise

    assert not await started(start(), leaving.is_set)
    assert left == ["cleanly"]


async def test_a_start_that_swallows_a_cancellation_is_cancelled_again() -> None:
    leaving, waits = threading.Event(), []

    async def start() -> None:
        leaving.set()
        for number in range(3):
            waits.append(number)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if number == 2:
                    raise

    async with asyncio.timeout(20):
        assert not await started(start(), leaving.is_set)
    assert waits == [0, 1, 2]


async def test_a_start_that_fails_says_why() -> None:
    async def start() -> None:
        raise ValueError("no store at redis://x")

    with pytest.raises(ValueError, match=r"^no store at redis://x$"):
        await started(start(), lambda: False)
