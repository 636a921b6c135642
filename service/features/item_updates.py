"""Tell all replicas which items changed, and hear it: what they computed from them is void.

Messages on the channel: `{"scene": "feed", "ids": ["17", …]}`, or `*` for any item of any scene.
Whoever writes item records should publish one; else a change shows when the cache's time is up.
"""

import asyncio
from collections.abc import Callable, Sequence

import orjson
import structlog
from redis.asyncio import Redis

CHANNEL = "finerank:items"
ANY = b"*"
_LISTEN_S = 5.0  # with a timeout: without one, a half-open connection would wait for ever
_PAUSE_S = 1.0

log = structlog.get_logger("finerank.items")


def change_message(scene: str, ids: Sequence[str]) -> bytes:
    """The message that these items of a scene changed."""
    return orjson.dumps({"scene": scene, "ids": list(ids)})


def read_change(message: bytes) -> tuple[str, list[str]] | None:
    """Scene and ids of a message; None for any item, also when nobody can read it."""
    try:
        change = orjson.loads(message)
    except orjson.JSONDecodeError:
        if message != ANY:
            log.warning("item_message_unreadable", message=message[:80])
        return None
    scene, ids = (change.get("scene"), change.get("ids")) if isinstance(change, dict) else (None, 0)
    if not isinstance(scene, str) or not isinstance(ids, list):
        log.warning("item_message_unreadable", message=message[:80])
        return None
    return scene, [str(id_) for id_ in ids]


async def follow_changes(
    redis: "Redis", forget: Callable[[str, list[str]], None], forget_all: Callable[[], None]
) -> None:
    """Call `forget` for each message, and `forget_all` at each new connection: it missed some."""
    task = asyncio.current_task()
    assert task is not None
    # A swallowed cancellation (redis-py before Python 3.12) ends the loop all the same.
    while not task.cancelling():
        try:
            async with redis.pubsub() as channel:
                await channel.subscribe(CHANNEL)
                forget_all()
                while not task.cancelling():
                    message = await channel.get_message(
                        ignore_subscribe_messages=True, timeout=_LISTEN_S
                    )
                    if message is None:
                        continue
                    change = read_change(message["data"])
                    if change is None:
                        forget_all()
                    else:
                        forget(*change)
        except Exception as err:
            log.debug("item_channel_lost", reason=str(err))
            await asyncio.sleep(_PAUSE_S)
