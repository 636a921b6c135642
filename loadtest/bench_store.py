"""Put the bench data into a store: the catalogue, the users, and a plan for the scene `bench`."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadtest.catalogue import SCENE, SCORE, Catalogue
from service.experiment.connection import connect
from service.experiment.embedded import start_embedded
from service.experiment.store import PlanStore
from service.features.load import load_file

_STORE_TIMEOUT_S = 5.0


@contextlib.contextmanager
def store_url(store: str, state_dir: Path) -> Iterator[str]:
    """The URL of a store; `embedded` is the state directory's own, running meanwhile."""
    if store != "embedded":
        yield store
        return
    embedded = start_embedded(state_dir)
    try:
        yield embedded.url
    finally:
        embedded.close()


def load_catalogue(url: str, catalogue: Catalogue) -> int:
    """Write every user and item; the number of records."""
    written = 0
    with tempfile.TemporaryDirectory() as directory:
        for kind, count, features in (
            ("user", catalogue.users, catalogue.user),
            ("item", catalogue.items, catalogue.item),
        ):
            path = Path(directory) / f"{kind}s.jsonl"
            with path.open("w") as file:
                for n in range(count):
                    file.write(json.dumps({"id": f"{kind}_{n}"} | features(n)) + "\n")
            written += load_file(url, SCENE, kind, path).written
    return written


def bench_plan(name: str, variant: str = "") -> dict[str, Any]:
    """The plan document that ranks the scene with package `name`, or a variant of it."""
    return {
        "format": 1,
        "scene": SCENE,
        "model": f"{name}@champion{variant and '+'}{variant}",
        "deadline_ms": 40,
        "formulas": {"base": {"score": SCORE}},
        "default": {"formula": "base"},
        "layers": [],
    }


def publish_plan(url: str, plan: dict[str, Any]) -> int:
    """Make `plan` the live one of the scene, whatever was; its version."""
    return asyncio.run(_publish(url, plan))


async def _publish(url: str, plan: dict[str, Any]) -> int:
    redis = connect(url, timeout_s=_STORE_TIMEOUT_S)
    try:
        store = PlanStore(redis)
        live = await store.live(SCENE)
        return await store.publish(
            SCENE, plan, expected=live, author="loadtest.bench_model", message="bench"
        )
    finally:
        await redis.aclose()
