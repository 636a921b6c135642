"""A Redis client with the timeouts of a ranking service: short, and never a retry.

The client's own defaults (5 s, ten retries with back-off) can hold one call for about a minute.
"""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

Client = redis.asyncio.Redis
UNAVAILABLE = (redis.RedisError, OSError)  # what a store call raises when the store does not answer
SENTINEL_SCHEME = "redis+sentinel"


def connect(url: str, *, timeout_s: float = 0.2) -> Client:
    """A client; it connects when first used. Replies are bytes.

    Args:
        url: `redis://`, `rediss://`, `unix://`, or `redis+sentinel://host:port,host:port/service?db=0`.
        timeout_s: bound on each connect and each read.

    Raises:
        ValueError: a URL of none of these forms.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }
    if urlsplit(url).scheme != SENTINEL_SCHEME:
        client: Client = redis.asyncio.from_url(url, **options)
        return client
    hosts, service, db = _sentinel_parts(url)
    watch = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    sentinel = Sentinel(hosts, sentinel_kwargs=watch)  # type: ignore[no-untyped-call]
    master: Client = sentinel.master_for(service, db=db, **options)
    return master


def _sentinel_parts(url: str) -> tuple[list[tuple[str, int]], str, int]:
    parts = urlsplit(url)
    hosts = [host.partition(":") for host in parts.netloc.rpartition("@")[2].split(",")]
    service = parts.path.strip("/")
    if not service or not all(name for name, _, _ in hosts):
        # Without the URL, which may hold a password.
        raise ValueError(f"write {SENTINEL_SCHEME}://host:port,host:port/service")
    db = int(parse_qs(parts.query).get("db", ["0"])[0])
    return [(name, int(port or 26379)) for name, _, port in hosts], service, db
