"""Model aliases in Redis: one truth for all replicas, hash `finerank:aliases:<name>` alias -> version.

`models/<name>/aliases.json` fills the hash of a model once, while it is empty.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from service.contract.repository import ModelRef
from service.experiment.connection import Client
from service.experiment.errors import StaleAlias
from service.experiment.store import CHANNEL

Aliases = Mapping[str, Mapping[str, int]]  # model name -> alias -> version

# -> {1, ""} or {0, the version the alias points at, "" for none}
_MOVE = """
local current = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if current ~= ARGV[2] then return {0, current} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], KEYS[1])
return {1, ''}
"""

_FILL = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""


class AliasStore:
    """Aliases of all models in one Redis."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._move = redis.register_script(_MOVE)
        self._fill = redis.register_script(_FILL)

    async def read(self, names: Iterable[str]) -> dict[str, dict[str, int]]:
        """Aliases of each model, in one round trip; {} for a model that has none."""
        names = list(names)
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hgetall(_key(name))
            found = await pipe.execute()
        return {
            name: {alias.decode(): int(version) for alias, version in aliases.items()}
            for name, aliases in zip(names, found, strict=True)
        }

    async def move(self, name: str, alias: str, version: int, *, expected: int | None) -> None:
        """Point an alias at a version, if it points at `expected` now (None: if there is none).

        Raises:
            StaleAlias: it points elsewhere; nothing was written.
            UnknownModel: no name or alias can be written so.
        """
        ModelRef.parse(f"{name}@{alias}")
        done, current = await self._move(
            keys=[_key(name)],
            args=[alias, "" if expected is None else expected, version, CHANNEL],
        )
        if not done:
            raise StaleAlias(name, alias, expected, int(current) if current else None)

    async def fill(self, name: str, aliases: Mapping[str, int]) -> bool:
        """Write the aliases of a model that has none in the store; True when they were written."""
        if not aliases:
            return False
        pairs = [part for pair in aliases.items() for part in pair]
        return bool(await cast(Any, self._fill(keys=[_key(name)], args=pairs)))


def _key(name: str) -> str:
    return f"finerank:aliases:{name}"
