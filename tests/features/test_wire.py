"""Our own connections to the store, against a real Valkey and against servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from redis.exceptions import ConnectionError, ResponseError

from service.features.wire import MOST_CONNECTIONS, Wires


def wires_of(url: str) -> Wires:
    wires = Wires.from_url(url)
    assert wires is not None
    return wires


@pytest.fixture
async def wires(valkey_url: str) -> AsyncIterator[Wires]:
    wires = wires_of(valkey_url)
    yield wires
    wires.close()


@pytest.mark.parametrize("url", ["rediss://host", "redis://host?socket_timeout=3"])
def test_what_only_the_general_client_can_do_is_left_to_it(url: str) -> None:
    assert Wires.from_url(url) is None


async def test_values_come_in_the_order_of_the_keys(wires: Wires, valkey: redis.Redis) -> None:
    valkey.mset({"a": b"1", "b": b"\xff\r\n$", "c": b""})
    assert await wires.get(["b", "nothing", "c", "a"]) == [b"\xff\r\n$", None, b"", b"1"]


async def test_a_connection_is_used_again(wires: Wires, valkey: redis.Redis) -> None:
    await wires.get(["a"])
    before = valkey.info("stats")["total_connections_received"]
    for _ in range(20):
        await wires.get(["a"])
    assert valkey.info("stats")["total_connections_received"] == before


async def test_each_of_many_at_once_gets_its_own(wires: Wires, valkey: redis.Redis) -> None:
    valkey.mset({f"k{n}": n for n in range(50)})
    found = await asyncio.gather(*(wires.get([f"k{n}"]) for n in range(50)))
    assert found == [[b"%d" % n] for n in range(50)]


async def test_a_large_reply_is_read_whole(wires: Wires, valkey: redis.Redis) -> None:
    valkey.set("large", b"x" * 3_000_000)
    assert await wires.get(["large", "large"]) == [b"x" * 3_000_000] * 2


async def test_a_connection_that_the_server_closed_is_replaced(
    wires: Wires, valkey: redis.Redis
) -> None:
    valkey.set("a", b"1")
    await wires.get(["a"])
    valkey.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.05)
    assert await wires.get(["a"]) == [b"1"]


async def test_a_reply_that_nobody_waits_for_is_never_that_of_another(
    wires: Wires, valkey: redis.Redis
) -> None:
    valkey.mset({"a": b"1", "b": b"2"})
    await wires.get(["a"])
    abandoned = asyncio.create_task(wires.get(["a"]))
    await asyncio.sleep(0)
    abandoned.cancel()
    assert await wires.get(["b"]) == [b"2"]


async def test_the_database_of_the_url_is_read(valkey_url: str, valkey: redis.Redis) -> None:
    with redis.Redis.from_url(f"{valkey_url}?db=3") as other:
        other.set("only-there", b"1")
    for url, expected in ((f"{valkey_url.rstrip('/')}/3", b"1"), (valkey_url, None)):
        wires = wires_of(url)
        assert await wires.get(["only-there"]) == [expected]
        wires.close()


async def test_a_user_without_the_right_is_told_so(valkey_url: str, valkey: redis.Redis) -> None:
    valkey.execute_command("ACL", "SETUSER", "writer", "on", ">secret", "~*", "+set")
    wires = wires_of(valkey_url.replace("redis://", "redis://writer:secret@"))
    with pytest.raises(ResponseError, match="NOPERM"):
        await wires.get(["a"])
    valkey.execute_command("ACL", "SETUSER", "writer", "+mget")
    assert await wires.get(["a"]) == [None]
    wires.close()


async def test_a_socket_path_that_is_not_there_is_no_connection() -> None:
    with pytest.raises(ConnectionError, match=r"cannot connect: .*No such file"):
        await wires_of("unix:///nowhere/valkey.sock").get(["a"])


@pytest.mark.parametrize(
    ("answer", "said"), [(b"HTTP/1.1 400\r\n", "is no RESP"), (b"", "the connection ended")]
)
async def test_what_is_no_store_is_no_connection(answer: bytes, said: str) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionError, match=said):
        await wires_of(f"redis://127.0.0.1:{port}").get(["a"])
    server.close()


class Hastened(asyncio.SelectorEventLoop):
    """A loop whose clock is `ahead` seconds ahead."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


@pytest.mark.parametrize(("timeout_s", "late"), [(1000, True), (2000, False)])
def test_connecting_takes_its_time_from_that_of_the_values(timeout_s: float, late: bool) -> None:
    loop = Hastened()

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (b"+OK\r\n", b"*1\r\n$1\r\n7\r\n"):  # to AUTH and to MGET
            await reader.read(100)
            loop.ahead += 600
            await asyncio.sleep(0)  # who has waited too long is told so before the answer comes
            writer.write(answer)
        writer.close()

    async def ask() -> list[bytes | None]:
        server = await asyncio.start_server(respond, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        wires = wires_of(f"redis://:secret@127.0.0.1:{port}")
        try:
            return await wires.get(["a"], timeout_s)
        finally:
            wires.close()
            server.close()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        if late:
            with pytest.raises(TimeoutError):
                runner.run(ask())
        else:
            assert runner.run(ask()) == [b"7"]


async def test_a_store_that_does_not_answer_gets_no_storm_of_connections() -> None:
    opened = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        await reader.read()  # until the other side gives up
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    wires = wires_of(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    asking = [asyncio.create_task(wires.get(["a"])) for _ in range(MOST_CONNECTIONS)]
    while len(opened) < MOST_CONNECTIONS:  # noqa: ASYNC110 - the server side tells nobody
        await asyncio.sleep(0.01)
    with pytest.raises(ConnectionError, match="all 64 connections wait for an answer"):
        await wires.get(["a"])
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert len(opened) == MOST_CONNECTIONS
    server.close()
