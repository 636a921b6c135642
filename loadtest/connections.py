"""Many connections served by one thread, which waits for whatever comes first, to the microsecond.

It takes two thirds of the CPU of an event loop with a task a connection, and is later less often.
"""

import select
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from loadtest.http_client import Connection, ConnectionLost, Reply, Target

_SHORT_S = 0.1  # epoll waits whole milliseconds; to wait exactly, select is a call more


class Connections:
    """Numbered connections to one target, each with at most one request in flight.

    One that was lost is opened again when it is next used.
    """

    def __init__(self, target: Target, count: int) -> None:
        """Open all of them.

        Raises:
            OSError: nobody listens there.
        """
        self._target = target
        self._poll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._numbers: dict[int, int] = {}  # of a connection, by its descriptor
        for number in range(count):
            self._connect(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._open.values():
            connection.socket.close()
        self._poll.close()

    def send(self, number: int, request: bytes) -> bool:
        """Begin to send; False when the server is gone."""
        try:
            connection = self._open.get(number) or self._connect(number)
        except OSError:
            return False
        try:
            connection.send(request)
        except ConnectionLost:
            self._drop(number)
            return False
        if connection.unsent:
            self._poll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
        return True

    def wait(self, seconds: float) -> Iterator[tuple[int, Reply | None]]:
        """Connections whose reply is complete or lost (None), waiting at most so long for one.

        After a long wait it may come back too early, with nothing; never late.
        """
        for descriptor, events in self._ready(seconds):
            number = self._numbers[descriptor]
            connection = self._open[number]
            was_awaited = connection.is_awaited
            try:
                if events & select.EPOLLOUT:
                    self._flush(connection)
                reply = connection.receive() if events & ~select.EPOLLOUT else None
            except ConnectionLost:
                self._drop(number)
                if was_awaited:
                    yield number, None
                continue
            if reply is not None:
                if "close" in (reply.header("connection") or "").lower():
                    self._drop(number)
                yield number, reply

    def _ready(self, seconds: float) -> list[tuple[int, int]]:
        if seconds > _SHORT_S:
            return self._poll.poll(seconds - _SHORT_S)
        if select.select((self._poll,), (), (), max(seconds, 0.0))[0]:
            return self._poll.poll(0)
        return []

    def _connect(self, number: int) -> Connection:
        connection = self._open[number] = Connection(self._target)
        self._numbers[connection.socket.fileno()] = number
        self._poll.register(connection.socket, select.EPOLLIN)
        return connection

    def _drop(self, number: int) -> None:
        connection = self._open.pop(number)
        del self._numbers[connection.socket.fileno()]
        connection.socket.close()

    def _flush(self, connection: Connection) -> None:
        connection.flush()
        if not connection.unsent:
            self._poll.modify(connection.socket, select.EPOLLIN)
