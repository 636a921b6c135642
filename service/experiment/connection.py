"""Redis clients with the timeouts of a ranking service: short, and never a retry.

The client's own defaults (5 s, ten retries with back-off) can hold one call for about a minute.
"""

from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import NoBackoff

Client = redis.asyncio.Redis
UNAVAILABLE = (redis.RedisError, OSError)  # what a store call raises when the store does not answer
SENTINEL_SCHEME = "redis+sentinel"
_FORM = f"{SENTINEL_SCHEME}://host:port,host:port/service"


def connect(url: str, *, timeout_s: float = 0.2) -> Client:
    """A client; it connects when first used. Replies are bytes.

    Args:
        url: `redis://`, `rediss://`, `unix://`, or `redis+sentinel://host:port,host:port/service`,
            there with `?db=0`, `user:password@` of the store, `?sentinel_password=` of the
            sentinels.
        timeout_s: bound on each connect and each read.

    Raises:
        ValueError: a URL of none of these forms.
    """
    options = _timeouts(timeout_s) | {"retry": redis.asyncio.retry.Retry(NoBackoff(), 0)}
    if not _names_sentinels(url):
        client: Client = redis.asyncio.from_url(url, **options)
        return client
    parts = _Sentinels.read(url)
    watch = _timeouts(timeout_s) | parts.watch
    sentinel = redis.asyncio.sentinel.Sentinel(parts.hosts, sentinel_kwargs=watch)  # type: ignore[no-untyped-call]
    options |= {"connection_pool_class": _MasterPool}
    master: Client = sentinel.master_for(parts.service, **parts.store, **options)
    return master


class _MasterPool(redis.asyncio.sentinel.SentinelConnectionPool):
    """Closes the connections to the sentinels, too; the library leaves them open."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def connect_blocking(url: str, *, timeout_s: float) -> redis.Redis:
    """The same for a thread that may wait."""
    options = _timeouts(timeout_s) | {"retry": redis.retry.Retry(NoBackoff(), 0)}
    if not _names_sentinels(url):
        client: redis.Redis = redis.Redis.from_url(url, **options)
        return client
    parts = _Sentinels.read(url)
    watch = _timeouts(timeout_s) | parts.watch
    sentinel = redis.sentinel.Sentinel(parts.hosts, sentinel_kwargs=watch)  # type: ignore[no-untyped-call]
    found = sentinel.master_for(parts.service, **parts.store, **options)  # type: ignore[no-untyped-call]
    master: redis.Redis = found
    return master


def is_about_a_key(reply: object) -> bool:
    """Whether a store that does answer says that one key holds another type of value.

    Whatever else it says (that it loads, has lost its master, wants a password, runs a script) is
    about all keys: it cannot serve.
    """
    return isinstance(reply, redis.ResponseError) and str(reply).startswith("WRONGTYPE ")


async def replies(pipe: redis.asyncio.client.Pipeline) -> list[Any]:
    """The reply to each command; the one about a key of another type is the error.

    Raises:
        UNAVAILABLE: the store does not answer.
    """
    found = await pipe.execute(raise_on_error=False)
    for reply in found:
        if isinstance(reply, Exception) and not is_about_a_key(reply):
            raise reply
    return found


def _timeouts(timeout_s: float) -> dict[str, Any]:
    return {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}


def _names_sentinels(url: str) -> bool:
    return urlsplit(url).scheme == SENTINEL_SCHEME


@dataclass(frozen=True)
class _Sentinels:
    """`watch`: how to log in to the sentinels; `store`: to the store they name, and its `db`."""

    hosts: list[tuple[str, int]]
    service: str
    watch: dict[str, Any]
    store: dict[str, Any]

    @classmethod
    def read(cls, url: str) -> Self:
        parts = urlsplit(url)
        login, _, places = parts.netloc.rpartition("@")
        hosts = [host.partition(":") for host in places.split(",")]
        service, query = parts.path.strip("/"), parse_qs(parts.query)
        db = query.get("db", ["0"])[0]
        ports = [port for _, _, port in hosts if port]
        if not service or not all(name for name, _, _ in hosts) or not _digits(db, *ports):
            # Without the URL, which may hold a password.
            raise ValueError(f"write {_FORM}")
        user, _, password = map(unquote, login.partition(":"))
        store = {"db": int(db), "username": user or None, "password": password or None}
        watch = {"password": query["sentinel_password"][0]} if "sentinel_password" in query else {}
        return cls([(name, int(port or 26379)) for name, _, port in hosts], service, watch, store)


def _digits(*texts: str) -> bool:
    return all(text.isascii() and text.isdigit() for text in texts)
