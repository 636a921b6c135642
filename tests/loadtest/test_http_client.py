"""A reply is found in the bytes however they come: in pieces, chunked, or followed by the end."""

import socket
from collections.abc import Iterator

import pytest

from loadtest.http_client import KEPT, Connection, ConnectionLost, Reply, Target

HEAD = b"HTTP/1.1 200 OK\r\nServer-Timing: infer;dur=7\r\nCONTENT-LENGTH: 5"
CHUNKED = (
    b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\nRetry-After: 1\r\n\r\n"
    b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
)


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection with a request under way, and the server's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(Target(listener.getsockname()[1]))
        server, _ = listener.accept()
        connection.send(b"request")
        assert server.recv(100) == b"request"
        with server, connection.socket:
            yield connection, server


def arrives(connection: Connection, server: socket.socket, data: bytes) -> Reply | None:
    """What the connection makes of `data`, once that is there."""
    connection.socket.setblocking(True)
    server.sendall(data)
    return connection.receive()


@pytest.mark.parametrize("cut", [1, len(HEAD) + 2, len(HEAD) + 6])
def test_a_reply_in_two_pieces_is_one_reply(
    pair: tuple[Connection, socket.socket], cut: int
) -> None:
    whole = HEAD + b"\r\n\r\nabcde"
    assert arrives(*pair, whole[:cut]) is None
    reply = arrives(*pair, whole[cut:])
    assert reply == Reply(200, HEAD, b"abcde")
    assert reply.header("Server-Timing") == "infer;dur=7"
    assert reply.header("Retry-After") is None
    assert not pair[0].is_awaited


def test_a_reply_without_a_length_is_found_byte_by_byte(
    pair: tuple[Connection, socket.socket],
) -> None:
    for byte in CHUNKED[:-1]:
        assert arrives(*pair, bytes([byte])) is None
    reply = arrives(*pair, CHUNKED[-1:])
    assert (reply.status, reply.body, reply.header("retry-after")) == (503, b"abcde", "1")


def test_the_next_request_begins_anew(pair: tuple[Connection, socket.socket]) -> None:
    connection, server = pair
    for data, status in ((CHUNKED, 503), (HEAD + b"\r\n\r\nabcde", 200), (CHUNKED, 503)):
        assert arrives(connection, server, data).status == status
        connection.send(b"another")


@pytest.mark.parametrize("frame", [b"Content-Length: %d\r\n\r\n%s", b"chunk"])
def test_of_a_long_body_the_beginning_is_kept(
    pair: tuple[Connection, socket.socket], frame: bytes
) -> None:
    body = bytes(range(256)) * 40
    if frame == b"chunk":
        rest = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        rest = frame % (len(body), body)
    reply = arrives(*pair, b"HTTP/1.1 200 OK\r\n" + rest)
    assert reply.body == body[:KEPT]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"SSH-2.0-x\r\nContent-Length: 2\r\n\r\nok", "the reply is no HTTP: b'SSH-2.0-x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok", "the reply is no HTTP: b'HTTP/1.1"),
        (b"SSH-2.0-x\r\n\r\n", "the reply is no HTTP: "),
    ],
)
def test_what_is_no_reply_ends_the_connection(
    pair: tuple[Connection, socket.socket], data: bytes, why: str
) -> None:
    with pytest.raises(ConnectionLost, match=why):
        arrives(*pair, data)


def test_the_end_of_the_stream_and_an_unasked_reply_are_losses(
    pair: tuple[Connection, socket.socket],
) -> None:
    connection, server = pair
    arrives(connection, server, HEAD + b"\r\n\r\nabcde")
    with pytest.raises(ConnectionLost, match="the server sent what nobody asked for: b'HTTP"):
        arrives(connection, server, b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    server.close()
    with pytest.raises(ConnectionLost, match="the server closed the connection: end of stream"):
        connection.receive()
