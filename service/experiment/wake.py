"""Hear of publications on the channel. Messages may be lost: the poll is the truth."""

import asyncio
import random

import structlog

from service.experiment.connection import Client
from service.experiment.store import CHANNEL

POLL_S = (1.0, 2.0)  # drawn anew for each pause, so that replicas do not poll in step


def is_cancelled() -> bool:
    """Whether the running task was told to stop.

    Before Python 3.12 `asyncio.wait_for`, which the Redis client uses too, can swallow the
    cancellation itself; a loop that asks here between its steps ends all the same.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def listen(redis: Client, wake: asyncio.Event) -> None:
    """Set `wake` at each publication, and at each new connection for what was missed before."""
    log = structlog.get_logger("finerank.plans")
    while not is_cancelled():
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(CHANNEL)
                wake.set()
                while not is_cancelled():
                    # With a timeout: without one, a half-open connection would wait for ever.
                    message = await channel.get_message(
                        ignore_subscribe_messages=True, timeout=POLL_S[1]
                    )
                    if message is not None:
                        wake.set()
        except Exception as err:
            log.debug("plan_channel_lost", reason=str(err))
            await asyncio.sleep(random.uniform(*POLL_S))
