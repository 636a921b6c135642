"""Files of records become stored records, every one of them or a sentence about it."""

import io
from pathlib import Path

import orjson
import pytest
import redis
from rich.console import Console

from service.contract.features import Categorical, FeatureSchema, Lookup, Numeric
from service.features.errors import LoadError
from service.features.load import LoadReport, load_file
from service.features.store import FeatureStore, Kind

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="age", side="user", vocabulary=("young", "old")),
        Numeric(name="price", side="item", default=1.0),
        Lookup(
            name="pair",
            side="cross",
            source="rates",
            source_side="user",
            key="author",
            key_side="item",
            columns=("rate",),
            default=(0.5,),
        ),
    ),
)


def quiet() -> Console:
    return Console(file=io.StringIO())


def load(
    url: str, path: Path, kind: Kind = "item", schema: FeatureSchema | None = None
) -> LoadReport:
    return load_file(url, "feed", kind, path, schema=schema, console=quiet())


def jsonl(path: Path, *records: object) -> Path:
    path.write_bytes(b"\n".join(map(orjson.dumps, records)) + b"\n")
    return path


async def test_what_is_loaded_is_what_requests_read(valkey_url: str, tmp_path: Path) -> None:
    users = jsonl(tmp_path / "u.jsonl", {"id": "7", "age": "old", "rates": {"x": [0.5]}})
    items = jsonl(tmp_path / "i.jsonl", {"id": "a", "price": 2.5}, {"id": 5, "price": 3})
    assert load(valkey_url, users, "user") == LoadReport(written=1)
    assert load(valkey_url, items) == LoadReport(written=2)
    store = FeatureStore.from_url(valkey_url, 5.0)
    found = (await store.fetch("feed", "7", ["a", "5"])).read()
    await store.close()
    assert found.user == {"age": "old", "rates": {"x": [0.5]}}
    assert found.items == [{"price": 2.5}, {"price": 3}]


def test_more_records_than_a_batch_are_all_written(
    valkey: redis.Redis, valkey_url: str, tmp_path: Path
) -> None:
    path = jsonl(tmp_path / "i.jsonl", *({"id": n, "price": n} for n in range(2345)))
    assert load(valkey_url, path).written == 2345
    assert valkey.dbsize() == 2345


def test_loading_again_replaces_the_record(
    valkey: redis.Redis, valkey_url: str, tmp_path: Path
) -> None:
    load(valkey_url, jsonl(tmp_path / "1.jsonl", {"id": "a", "price": 1, "author": "x"}))
    load(valkey_url, jsonl(tmp_path / "2.jsonl", {"id": "a", "price": 2}))
    assert orjson.loads(valkey.get("finerank:f:feed:item:a")) == {"price": 2}


def test_refused_rows_are_counted_with_their_place_and_the_rest_is_written(
    valkey: redis.Redis, valkey_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "i.jsonl"
    path.write_text('{"id": "a"}\nnot json\n{"id": "b"}\n')
    report = load(valkey_url, path)
    assert (report.written, report.refused) == (2, 1)
    assert report.problems[0].startswith(f"{path}:2: not JSON: ")


def test_many_refused_rows_are_counted_and_few_are_shown(valkey_url: str, tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    path.write_text("[]\n" * 500)
    report = load(valkey_url, path)
    assert (report.written, report.refused, len(report.problems)) == (0, 500, 20)


def test_with_a_schema_values_that_would_be_defaults_are_refused(
    valkey: redis.Redis, valkey_url: str, tmp_path: Path
) -> None:
    items = jsonl(
        tmp_path / "i.jsonl",
        {"id": "a", "price": 2.5, "colour": "red"},
        {"id": "b", "price": "2.5"},
        {"id": "c", "price": 1, "author": 1.5},
    )
    report = load(valkey_url, items, schema=SCHEMA)
    assert (report.written, report.refused) == (1, 2)
    assert report.problems == [
        f"{items}:2: feature 'price': '2.5' is not a number",
        f"{items}:3: feature 'author': 1.5 is neither a string nor an integer",
    ]
    users = jsonl(tmp_path / "u.jsonl", {"id": "7", "rates": {"x": [1, 2]}})
    assert load(valkey_url, users, "user", SCHEMA).problems == [
        f"{users}:1: feature 'rates': [1, 2] is not a list of 1 finite numbers"
    ]


def test_value_that_json_cannot_hold_is_refused(
    valkey: redis.Redis, valkey_url: str, tmp_path: Path
) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "i.parquet"
    parquet.write_table(pa.table({"id": ["a"], "raw": [b"\x00"]}), path)
    report = load(valkey_url, path)
    assert (report.written, report.refused) == (0, 1)
    assert report.problems[0].startswith(f"{path}:row 1: ")


def test_progress_ends_at_the_number_of_records(valkey_url: str, tmp_path: Path) -> None:
    shown = io.StringIO()
    path = jsonl(tmp_path / "i.jsonl", *({"id": n} for n in range(1500)))
    load_file(
        valkey_url,
        "feed",
        "item",
        path,
        console=Console(file=shown, width=100, force_terminal=True),
    )
    assert "1,500 records" in shown.getvalue()
    assert "100%" in shown.getvalue()


def test_store_that_is_down_is_a_sentence(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "i.jsonl", {"id": "a"})
    with pytest.raises(LoadError, match=r"i\.jsonl: the store failed after 0 records: "):
        load("redis://127.0.0.1:1", path)
