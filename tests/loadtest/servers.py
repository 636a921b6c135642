"""A tiny real HTTP server for the load generators: one request at a time, able to stall once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from loadtest.connections import Connections
from loadtest.http_client import Reply, Target

OK = b'{"request_id":"r","degraded":[],"ids":[]}'
DEGRADED = b'{"request_id":"r","degraded":["feature_store","deadline"],"ids":[]}'


@dataclass
class TinyServer:
    """Answers every POST in turn, as a server with one worker would.

    Attributes:
        takes_s: seconds that every request takes.
        stall: (number of the request that stalls, seconds).
        hang_up_at: number of the request that is answered by closing the connection.
        answer: number of the request -> (status line, extra header lines, body).
    """

    answer: Callable[[int], tuple[str, bytes, bytes]] = lambda _: ("200 OK", b"", OK)
    takes_s: float = 0.0
    stall: tuple[int, float] | None = None
    hang_up_at: int | None = None
    bodies: list[bytes] = field(default_factory=list)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Target]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield Target(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                async with self._turn:
                    number = len(self.bodies)
                    self.bodies.append(body)
                    if self.takes_s:
                        await asyncio.sleep(self.takes_s)
                    if self.stall is not None and self.stall[0] == number:
                        await asyncio.sleep(self.stall[1])
                if number == self.hang_up_at:
                    break
                status, extra, content = self.answer(number)
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n".encode()
                    + extra
                    + b"\r\n"
                    + content
                )
        except (asyncio.IncompleteReadError, ConnectionResetError, asyncio.CancelledError):
            pass  # the client left, or the test ended
        finally:
            writer.close()


class CountedConnections(Connections):
    """Connections that know how often somebody waited for them."""

    waits = 0

    def wait(self, seconds: float) -> Iterator[tuple[int, Reply | None]]:
        CountedConnections.waits += 1
        return super().wait(seconds)
