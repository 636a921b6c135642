"""HTTP/1.1 over a kept-alive connection, cheap: the generator shares its cores with the server."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import httptools


class ConnectionLost(Exception):
    """The server closed the connection while a reply was awaited."""


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    port: int
    path: str = "/rank"
    host: str = "127.0.0.1"

    def request(self, content: bytes, headers: Mapping[str, str] | None = None) -> bytes:
        """The bytes of one POST, made once and sent many times."""
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


@dataclass(frozen=True)
class Reply:
    """Status, headers with lower-case names, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """One connection with at most one request in flight. Bodies are collected, not decoded."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[Reply] | None = None
        self._reset()

    @classmethod
    async def open(cls, target: Target) -> Self:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, target.host, target.port)
        return connection

    async def send(self, request: bytes) -> Reply:
        """Send one request and wait for its reply.

        Raises:
            ConnectionLost: the connection ended first; this object is of no more use.
        """
        if self.is_closed:
            raise ConnectionLost("the connection was closed before the request was sent")
        self._reset()
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._reply

    @property
    def is_closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []

    # What asyncio calls.
    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as err:
            self._fail(f"the reply is no HTTP: {err}")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the server closed the connection: {exc or 'end of stream'}")

    # What the parser calls.
    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        reply = Reply(self._parser.get_status_code(), self._headers, b"".join(self._parts))
        if not self._parser.should_keep_alive():
            self.close()
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(reply)

    def _fail(self, why: str) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionLost(why))
