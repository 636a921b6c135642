"""Connections that one thread serves: whoever has a reply comes forth, whoever is lost too."""

import asyncio
import socket

import pytest

from loadtest.connections import Connections
from loadtest.http_client import Reply, Target
from tests.loadtest.servers import TinyServer

REQUEST = Target(0).request(b"{}")
CLOSING = b"Connection: close\r\n"


def replies(connections: Connections, count: int) -> list[tuple[int, Reply | None]]:
    found: list[tuple[int, Reply | None]] = []
    while len(found) < count:
        found += connections.wait(1.0)
    return found


async def test_each_reply_comes_with_the_number_of_its_connection() -> None:
    def ask(target: Target) -> list[tuple[int, Reply | None]]:
        with Connections(target, 3) as connections:
            assert connections.send(2, REQUEST)
            assert connections.send(0, REQUEST)
            return replies(connections, 2)

    async with TinyServer().running() as target:
        found = await asyncio.to_thread(ask, target)
    assert {number: reply.status for number, reply in found} == {0: 200, 2: 200}


async def test_a_request_that_the_socket_does_not_take_at_once_arrives_whole() -> None:
    content = bytes(range(97, 123)) * 400_000

    def ask(target: Target) -> None:
        with Connections(target, 1) as connections:
            assert connections.send(0, target.request(content))
            replies(connections, 1)

    server = TinyServer()
    async with server.running() as target:
        await asyncio.to_thread(ask, target)
    assert server.bodies == [content]


@pytest.mark.parametrize("said", [CLOSING, b""])
async def test_a_connection_that_the_server_closes_is_opened_again(said: bytes) -> None:
    def ask(target: Target) -> list[int | None]:
        statuses = []
        with Connections(target, 1) as connections:
            for _ in range(3):
                assert connections.send(0, REQUEST)
                ((_, reply),) = replies(connections, 1)
                statuses.append(reply and reply.status)
        return statuses

    server = TinyServer(answer=lambda _: ("200 OK", said, b"{}"), hang_up_at=None if said else 1)
    async with server.running() as target:
        statuses = await asyncio.to_thread(ask, target)
    assert statuses == ([200, 200, 200] if said else [200, None, 200])


def test_a_connection_that_was_closed_while_idle_is_no_loss() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Connections(Target(listener.getsockname()[1]), 1) as connections,
    ):
        listener.accept()[0].close()
        assert list(connections.wait(5.0)) == []
        assert connections.send(0, REQUEST)
        server, _ = listener.accept()
        with server:
            assert server.recv(1_000) == REQUEST
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            ((number, reply),) = replies(connections, 1)
    assert (number, reply.status, reply.body) == (0, 200, b"")


def test_a_server_that_is_gone_is_told_when_sending() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections = Connections(Target(listener.getsockname()[1]), 1)
        listener.accept()[0].close()
    with connections:
        assert list(connections.wait(5.0)) == []
        assert not connections.send(0, REQUEST)
