"""Seed the demo: a plan for the scene `demo` where it has none, features where they are missing."""

import asyncio
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from service.api.app import Parts
from service.api.publishing import Publisher, Signature
from service.errors import EtagMismatch, ServiceError
from service.features.errors import LoadError, StoreUnavailable
from service.features.load import load_file
from service.features.store import FeatureStore, Kind

SCENE = "demo"
_MODEL = "demo"
_PLAN = "plan.json"
_FILES: dict[Kind, str] = {"user": "users.jsonl", "item": "items.jsonl"}

log = structlog.get_logger("finerank.demo")


@dataclass(frozen=True)
class Seeder:
    """Publishes `models/demo/plan.json` and loads `users.jsonl` and `items.jsonl` beside it."""

    parts: Parts
    features: FeatureStore
    models: Path
    store_url: str

    async def seed(self) -> None:
        """Seed what is missing; a store that is away, or files that are, change nothing."""
        directory = self.models / _MODEL
        plan = directory / _PLAN
        if not plan.is_file():
            log.warning("demo_not_seeded", reason=f"there is no {plan}")
            return
        publisher = Publisher(self.parts.loader, self.parts.pool.ensure)
        try:
            if await publisher.live(SCENE) is None:
                await self._publish(publisher, plan)
            await self._load_features(directory)
        except (ServiceError, StoreUnavailable, LoadError, ValueError) as err:
            log.warning("demo_not_seeded", reason=str(err))

    async def _publish(self, publisher: Publisher, plan: Path) -> None:
        signature = Signature("finerank demo", "the demo plan")
        try:
            document = json.loads(await asyncio.to_thread(plan.read_text))
            published = await publisher.publish(SCENE, document, None, signature)
        except EtagMismatch:
            return  # another replica was faster
        log.info("demo_plan_published", version=published.version)

    async def _load_features(self, directory: Path) -> None:
        for kind, name in _FILES.items():
            path = directory / name
            if not path.is_file() or await self._is_loaded(kind, path):
                continue
            report = await asyncio.to_thread(load_file, self.store_url, SCENE, kind, path)
            log.info("demo_features_loaded", kind=kind, records=report.written)

    async def _is_loaded(self, kind: Kind, path: Path) -> bool:
        """Whether the store holds every record of a file; what is there is never overwritten."""
        ids = _ids(path)
        if kind == "user":
            found = [(await self.features.fetch(SCENE, id_, ())).user for id_ in ids]
        else:
            found = list((await self.features.fetch(SCENE, None, ids)).items)
        return all(record is not None for record in found)


def curl_lines(models: Path, url: str, token: str) -> list[tuple[str, str]]:
    """Title and command of the first steps; [] without a demo."""
    directory = models / _MODEL
    try:
        plan = json.loads((directory / _PLAN).read_text())
        users, items = (_ids(directory / name) for name in _FILES.values())
        name, param = list(plan["formulas"][plan["default"]["formula"]]["params"].items())[-1]
    except (OSError, ValueError, LookupError):
        return []
    request = {"scene": SCENE, "user": {"id": users[0]}, "candidates": {"ids": items[:5]}}
    explained = {**request, "limit": 1, "explain": True}
    stronger = {"params": {name: (param["value"] + param["max"]) / 2}}
    bearer = f'-H "Authorization: Bearer {token}" -H "If-Match: *"'
    return [
        ("rank", f"curl -s {url}/rank -d {_quoted(request)}"),
        (
            f"change the weight {name} of the live formula, then rank again",
            f"curl -s -X PATCH '{url}/v1/plans/{SCENE}?author=me' {bearer} -d {_quoted(stronger)}",
        ),
        ("explain a score", f"curl -s {url}/rank -d {_quoted(explained)}"),
    ]


def _quoted(document: Mapping[str, Any]) -> str:
    return shlex.quote(json.dumps(document))


def _ids(path: Path) -> list[str]:
    with path.open() as lines:
        return [str(json.loads(line)["id"]) for line in lines]
