"""User and item features from Redis: one round trip, a short timeout, no retries.

A record is a JSON object under `finerank:f:<scene>:user|item:<id>`; any pipeline may write one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service.features.errors import StoreUnavailable
from service.features.wire import Wires

Kind = Literal["user", "item"]
Record = Mapping[str, Any]  # raw name -> raw value, as JSON holds it


def record_key(scene: str, kind: Kind, id_: str) -> str:
    return f"finerank:f:{scene}:{kind}:{id_}"


@dataclass(frozen=True)
class Records:
    """What the store holds for one request: a record or None for the user and for each item.

    `garbled` counts records that are no JSON objects; those are None. `garbled_items`: their rows.
    """

    user: Record | None
    items: Sequence[Record | None]
    garbled: int = 0
    garbled_items: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Fetched:
    """Stored bytes, unread: reading hundreds of records is work for a thread, not for the loop."""

    user: bytes | None
    items: Sequence[bytes | None]

    @classmethod
    def nothing(cls, items: int) -> Self:
        return cls(None, [None] * items)

    def read(self) -> Records:
        if self.user is None and self.items.count(None) == len(self.items):
            return Records(None, cast("Sequence[None]", self.items))
        user, *items = map(_read, (self.user, *self.items))
        rows = frozenset(row for row, record in enumerate(items) if record is _GARBLED)
        garbled = len(rows) + (user is _GARBLED)
        return Records(_usable(user), [_usable(record) for record in items], garbled, rows)


class FeatureStore:
    """Reads records from Redis or Valkey."""

    def __init__(
        self, redis: Redis, timeout_s: float = 0.010, *, wires: Wires | None = None
    ) -> None:
        self._redis = redis
        self._wires = wires  # where the server is one that they can reach
        self._timeout_s = timeout_s

    @classmethod
    def from_url(cls, url: str, timeout_s: float = 0.010, *, max_connections: int = 64) -> Self:
        """A store with connections of its own, which never retry: the request has 40 ms."""
        redis = Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            max_connections=max_connections,
        )
        return cls(redis, timeout_s, wires=Wires.from_url(url))

    async def fetch(
        self, scene: str, user_id: str | None, ids: Iterable[str], timeout_s: float | None = None
    ) -> Fetched:
        """One MGET for the user and all items.

        Raises:
            StoreUnavailable: no answer within `timeout_s` (at most the store's own), or an error.
        """
        keys = [record_key(scene, "item", id_) for id_ in ids]
        if user_id is not None:
            keys.append(record_key(scene, "user", user_id))
        if not keys:
            return Fetched(None, ())
        limit_s = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        try:
            if self._wires is not None:
                values = await self._wires.get(keys, limit_s)
            else:
                async with asyncio.timeout(limit_s):
                    values = cast("list[bytes | None]", await self._redis.mget(keys))
        except TimeoutError as err:
            raise StoreUnavailable(f"no answer within {limit_s * 1000:.0f} ms") from err
        except (RedisError, OSError) as err:
            raise StoreUnavailable(f"{type(err).__name__}: {err}") from err
        user = values.pop() if user_id is not None else None
        return Fetched(user, values)

    async def item_ids(self, scene: str) -> AsyncIterator[str]:
        """Ids of all stored items of a scene, in no order, some perhaps twice.

        Raises:
            StoreUnavailable: the store failed.
        """
        prefix = record_key(scene, "item", "")
        try:
            async for key in self._redis.scan_iter(match=f"{prefix}*", count=1000):
                text = key.decode() if isinstance(key, bytes) else key
                yield text.removeprefix(prefix)
        except RedisError as err:
            raise StoreUnavailable(f"{type(err).__name__}: {err}") from err

    async def close(self) -> None:
        if self._wires is not None:
            self._wires.close()
        await self._redis.aclose()


_GARBLED: Record = {}  # compared by identity


def _read(raw: bytes | None) -> Record | None:
    if raw is None:
        return None
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _GARBLED
    return record if isinstance(record, dict) else _GARBLED


def _usable(record: Record | None) -> Record | None:
    return None if record is _GARBLED else record
