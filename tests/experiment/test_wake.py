"""Publications wake at once, and so does a connection that was lost and is back."""

import asyncio

import pytest

from service.experiment import wake
from service.experiment.connection import Client
from service.experiment.store import CHANNEL
from service.experiment.wake import is_cancelled, listen

PATIENCE_S = 30.0  # only a hang is that slow


async def test_every_publication_and_every_connection_wakes(
    redis: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wake, "POLL_S", (0.01, 0.02))
    woken = asyncio.Event()
    listening = asyncio.create_task(listen(redis, woken))
    async with asyncio.timeout(PATIENCE_S):
        await woken.wait()  # connected
        woken.clear()
        await redis.publish(CHANNEL, "feed")
        await woken.wait()
        woken.clear()
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await woken.wait()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


async def test_a_swallowed_cancellation_ends_the_loop_all_the_same():
    async def swallow() -> str:
        try:
            await asyncio.sleep(PATIENCE_S)
        except asyncio.CancelledError:
            return "ended" if is_cancelled() else "went on"
        return "was not cancelled"

    assert not is_cancelled()
    task = asyncio.create_task(swallow())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "ended"
