"""HTTP/1.1 over a kept-alive connection, cheap: the generator shares its cores with the server.

A reply is found by a search in its bytes; only one without Content-Length goes through a parser.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import httptools

KEPT = 2_048  # bytes of a body that a reply keeps
_PART = 65_536  # more at once would be mapped and unmapped by malloc each time
_CONNECT_S = 5.0
_END = b"\r\n\r\n"


class ConnectionLost(Exception):
    """The server closed the connection while a reply was awaited, or sent what is no HTTP."""


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
        return "\r\n".join(lines).encode() + _END + content


class Reply(NamedTuple):
    """Status, the head as it came, and the first `KEPT` bytes of the body."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value, the first one's if there are several; None when there is none."""
        return _header(self.head, name.lower().encode())


class Connection:
    """One connection with at most one request in flight. Nothing here waits, but for connecting.

    Attributes:
        is_awaited: a request was sent and its reply is not complete.
        unsent: what the socket did not take yet; `flush` when it can be written again.
    """

    def __init__(self, target: Target) -> None:
        """Connect.

        Raises:
            OSError: nobody listens there.
        """
        self.socket = socket.create_connection((target.host, target.port), timeout=_CONNECT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.is_awaited = False
        self.unsent = memoryview(b"")
        self._data = b""
        self._parts: _Parts | None = None

    def send(self, request: bytes) -> None:
        """Begin to send one request.

        Raises:
            ConnectionLost: the connection ended; this object is of no more use.
        """
        self.is_awaited = True
        self.unsent = memoryview(request)
        self.flush()

    def flush(self) -> None:
        """Send more of what is unsent, as much as the socket takes now."""
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            pass
        except OSError as err:
            raise ConnectionLost(f"the server closed the connection: {err}") from err

    def receive(self) -> Reply | None:
        """Read once what there is; the reply when that completes it.

        Raises:
            ConnectionLost: the connection ended first, or the bytes are no reply.
        """
        try:
            part = self.socket.recv(_PART)
        except BlockingIOError:
            return None
        except OSError as err:
            raise ConnectionLost(f"the server closed the connection: {err}") from err
        if not part:
            raise ConnectionLost("the server closed the connection: end of stream")
        if not self.is_awaited:
            raise ConnectionLost(f"the server sent what nobody asked for: {part[:80]!r}")
        reply = self._parts.feed(part) if self._parts else self._search(part)
        if reply is not None:
            self._data, self._parts, self.is_awaited = b"", None, False
        return reply

    def _search(self, part: bytes) -> Reply | None:
        data = self._data = self._data + part if self._data else part
        end = data.find(_END)
        if end < 0:
            return None
        head, body = data[:end], end + len(_END)
        length = _header(head, b"content-length")
        if length is None:
            self._parts = _Parts()
            return self._parts.feed(data)
        if not (head.startswith(b"HTTP/1.") and length.isdecimal() and head[9:12].isdigit()):
            raise ConnectionLost(f"the reply is no HTTP: {head[:80]!r}")
        if len(data) < body + int(length):
            return None
        return Reply(int(head[9:12]), head, data[body : body + KEPT])


class _Parts:
    """A reply whose length is not said at once (chunked), through a parser."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._data = self._body = b""
        self._is_complete = False

    def feed(self, part: bytes) -> Reply | None:
        if _END not in self._data:
            self._data += part
        try:
            self._parser.feed_data(part)
        except httptools.HttpParserError as err:
            raise ConnectionLost(f"the reply is no HTTP: {err}") from err
        if not self._is_complete:
            return None
        head = self._data.partition(_END)[0]
        return Reply(self._parser.get_status_code(), head, self._body)

    # What the parser calls.
    def on_body(self, part: bytes) -> None:
        self._body += part[: KEPT - len(self._body)]

    def on_message_complete(self) -> None:
        self._is_complete = True


def _header(head: bytes, name: bytes) -> str | None:
    at = head.lower().find(b"\r\n" + name + b":")
    if at < 0:
        return None
    return head[at + len(name) + 3 :].partition(b"\r\n")[0].strip().decode("latin-1")
