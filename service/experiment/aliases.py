"""Model aliases in Redis: one truth for all replicas, moved by compare-and-set.

Hash `finerank:aliases:<name>`: alias -> version; stream `finerank:aliases:<name>:audit`: its moves.
`models/<name>/aliases.json` fills the hash of a model once, while it is empty.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import redis

from service.contract.errors import ContractError
from service.contract.repository import ModelRef, Repository
from service.experiment.connection import Client, is_about_a_key, replies
from service.experiment.errors import StaleAlias
from service.experiment.store import CHANNEL

Aliases = Mapping[str, Mapping[str, int]]  # model name -> alias -> version

PROMOTE, DEMOTE = "promote", "demote"

# -> {1, ""} or {0, the version the alias points at, "" for none}
_MOVE = """
local current = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if current ~= ARGV[2] then return {0, current} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', 'alias', ARGV[1], 'from', current,
  'to', ARGV[3], 'action', ARGV[5], 'author', ARGV[6])
redis.call('PUBLISH', ARGV[4], KEYS[1])
return {1, ''}
"""

_FILL = """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return redis.call('HGETALL', KEYS[1])
"""


class AliasStore:
    """Aliases of all models in one Redis, first filled from the repository's files."""

    def __init__(self, redis: Client, repository: Repository) -> None:
        self._redis, self._repository = redis, repository
        self._move = redis.register_script(_MOVE)
        self._fill = redis.register_script(_FILL)

    async def read(self, names: Iterable[str]) -> dict[str, dict[str, int]]:
        """Aliases of each model, in one round trip; {} for a model that has none anywhere.

        A model whose key holds no hash is left out: nobody knows where its aliases point.
        """
        names = sorted(names)
        if not names:
            return {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hgetall(_key(name))
            found = await replies(pipe)
        return {
            name: _read_hash(entry) if entry else await self._first(name)
            for name, entry in zip(names, found, strict=True)
            if not is_about_a_key(entry)
        }

    async def move(
        self,
        name: str,
        alias: str,
        version: int,
        *,
        expected: int | None,
        action: str = PROMOTE,
        author: str = "",
    ) -> None:
        """Point an alias at a version, if it points at `expected` now (None: if there is none).

        `action` and `author` are for the audit.

        Raises:
            StaleAlias: it points elsewhere; nothing was written.
            UnknownModel: no name or alias can be written so.
        """
        ModelRef.parse(f"{name}@{alias}")
        done, current = await self._move(
            keys=[_key(name), f"{_key(name)}:audit"],
            args=[alias, "" if expected is None else expected, version, CHANNEL, action, author],
        )
        if not done:
            raise StaleAlias(name, alias, expected, int(current) if current else None)

    async def before(self, name: str, alias: str, version: int) -> int | None:
        """What the alias pointed at when it was last promoted to `version`, by the audit."""
        entries = await self._redis.xrevrange(f"{_key(name)}:audit")
        for _, entry in cast(Any, entries or ()):
            was = {field.decode(): value.decode() for field, value in entry.items()}
            if (was["alias"], was["to"], was["action"]) == (alias, str(version), PROMOTE):
                return int(was["from"]) if was["from"] else None
        return None

    async def _first(self, name: str) -> dict[str, int]:
        """The aliases of the model's file, written to the store unless somebody was faster."""
        try:
            given = self._repository.read_aliases(name)
        except (ContractError, OSError):
            return {}  # resolving a reference then says what is wrong with the file
        if not given:
            return {}
        pairs = [part for pair in given.items() for part in pair]
        try:
            entry = await self._fill(keys=[_key(name)], args=pairs)
        except redis.ResponseError:  # a store that can only be read
            return given
        return _read_hash(dict(zip(entry[::2], entry[1::2], strict=True)))


def pinned(refs: Iterable[ModelRef], aliases: Aliases) -> dict[str, dict[str, int]]:
    """The part of the aliases that references name, 0 where there is none."""
    named: dict[str, dict[str, int]] = {}
    for ref in refs:
        entry = named.setdefault(ref.name, {})
        if ref.alias is not None:
            entry[ref.alias] = aliases.get(ref.name, {}).get(ref.alias, 0)
    return named


def kept(now: Aliases, named: Aliases) -> dict[str, dict[str, int]]:
    """The aliases of `now`, those that `named` has too as they stand there; 0 is no alias."""
    return {
        name: {a: v for a, v in {**entry, **named.get(name, {})}.items() if v}
        for name, entry in now.items()
    }


def unmoved(named: Aliases, now: Aliases) -> bool:
    """Whether pinned aliases still point where they did."""
    return all(
        now.get(name, {}).get(alias, 0) == version
        for name, entry in named.items()
        for alias, version in entry.items()
    )


def _read_hash(entry: Mapping[bytes, bytes]) -> dict[str, int]:
    """Alias -> version; what is no version number, written by hand, is no alias."""
    return {a.decode(errors="replace"): int(v) for a, v in entry.items() if v.isdigit()}


def _key(name: str) -> str:
    return f"finerank:aliases:{name}"
