"""Start up, unless the process is told to end meanwhile: nobody waits for a proof then."""

import asyncio
from collections.abc import Callable, Coroutine

_LOOK_S = 0.1


async def started(start: Coroutine[None, None, None], is_leaving: Callable[[], bool]) -> bool:
    """Whether `start` came to its end; it is cancelled where `is_leaving` comes first.

    Raises:
        Exception: whatever `start` raises.
    """
    task = asyncio.create_task(start)
    try:
        while not task.done():
            if is_leaving():
                return False
            await asyncio.wait({task}, timeout=_LOOK_S)
        await task
        return True
    finally:
        while not task.done():  # redis-py before Python 3.12 may swallow a cancellation
            task.cancel()
            await asyncio.wait({task}, timeout=_LOOK_S)
