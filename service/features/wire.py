"""GET and MGET on connections of our own: what a request pays for the store.

The general client spends about 0.3 ms CPU a command on pools, locks, retries and streams. Here a
command is one write, and its reply wakes the one who waits. A connection carries one command at a
time, so an abandoned command takes its connection with it, and replies are never mixed up.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.exceptions import AuthenticationError, ConnectionError, ResponseError

_KNOWN = {"host", "port", "path", "db", "username", "password", "connection_class"}
_pack = cast("Callable[[tuple[str, ...]], bytes]", hiredis.pack_command)  # typed for one word
_REFUSED = ("WRONGPASS", "NOAUTH", "ERR AUTH", "ERR invalid password")


MOST_CONNECTIONS = 64


class Wires:
    """Connections to one server; made when all others are busy, kept when done.

    Errors are the general client's: ConnectionError, AuthenticationError, ResponseError.
    """

    def __init__(self, where: dict[str, Any]) -> None:
        self._where = where
        self._idle: list[_Wire] = []
        self._busy = 0

    @classmethod
    def from_url(cls, url: str) -> Self | None:
        """None for what only the general client can do: TLS, and options in the URL."""
        where: dict[str, Any] = dict(parse_url(url))
        if not where.keys() <= _KNOWN or where.get("connection_class") is SSLConnection:
            return None
        return cls(where)

    async def get(self, keys: Sequence[str], timeout_s: float | None = None) -> list[bytes | None]:
        """The values of keys, in their order.

        Raises:
            TimeoutError: they did not come in time; without `timeout_s`, whoever cannot wait
                cancels.
        """
        loop = asyncio.get_running_loop()
        end_at = None if timeout_s is None else loop.time() + timeout_s
        if self._busy >= MOST_CONNECTIONS:
            # A store that is slow already gets no storm of new connections.
            raise ConnectionError(f"all {MOST_CONNECTIONS} connections wait for an answer")
        self._busy += 1
        try:
            if self._idle:
                wire = self._idle.pop()
            else:
                async with asyncio.timeout_at(end_at):
                    wire = await self._connect()
            try:
                values: list[bytes | None] = await wire.call("MGET", *keys, end_at=end_at)
            except BaseException:
                wire.abort()
                raise
        finally:
            self._busy -= 1
        if not wire.is_closed:
            self._idle.append(wire)
        return values

    def close(self) -> None:
        while self._idle:
            self._idle.pop().abort()

    async def _connect(self) -> "_Wire":
        where, loop = self._where, asyncio.get_running_loop()
        try:
            if "path" in where:
                _, wire = await loop.create_unix_connection(
                    lambda: _Wire(self._idle), where["path"]
                )
            else:
                host, port = where.get("host", "localhost"), where.get("port", 6379)
                _, wire = await loop.create_connection(lambda: _Wire(self._idle), host, port)
        except OSError as err:
            raise ConnectionError(f"cannot connect: {err}") from err
        try:
            if "password" in where:
                name = [where["username"]] if "username" in where else []
                await wire.call("AUTH", *name, where["password"])
            if where.get("db"):
                await wire.call("SELECT", str(where["db"]))
        except BaseException:
            wire.abort()
            raise
        return wire


class _Wire(asyncio.Protocol):
    """One connection with at most one command on it. It leaves `idle` when it is lost."""

    def __init__(self, idle: "list[_Wire]") -> None:
        self._idle = idle
        self._replies = hiredis.Reader()
        self._waiting: asyncio.Future[Any] | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def is_closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    async def call(self, *words: str, end_at: float | None = None) -> Any:
        """The reply to a command; TimeoutError when the loop's clock is at `end_at` before it."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("the connection is closed")
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        self._transport.write(_pack(words))
        # Not asyncio.timeout, which is for any code: that takes four times as long (3.6 µs, hot).
        late = None if end_at is None else loop.call_at(end_at, self._end, TimeoutError())
        try:
            reply = await self._waiting
        finally:
            if late is not None:
                late.cancel()
        if isinstance(reply, hiredis.ReplyError):
            said = str(reply)
            raise (AuthenticationError if said.startswith(_REFUSED) else ResponseError)(said)
        return reply

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._replies.feed(data)
            reply = self._replies.gets()
        except hiredis.ProtocolError as err:
            self._end(ConnectionError(f"the reply is no RESP: {err}"))
            self.abort()
            return
        if reply is not False and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionError(f"the connection ended: {exc or 'closed by the server'}"))
        if self in self._idle:
            self._idle.remove(self)

    def _end(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
