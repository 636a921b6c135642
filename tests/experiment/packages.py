"""Packages and plan documents for the tests of this room, built from the real types."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np

from service.contract.features import Attribute, Categorical, FeatureSchema, Numeric
from service.contract.golden import Golden, encode_raw, write_golden
from service.contract.heads import Head
from service.contract.manifest import Manifest, Parity, Training
from service.contract.repository import ModelRef, Repository

HEADS = ("ctr", "ctcvr", "vcr", "like")
ROWS = 8

PLAN: dict[str, Any] = json.loads(
    """{"format": 1, "scene": "feed", "model": "toy@champion", "deadline_ms": 40,
 "formulas": {
   "base": {"score": "ctr^a * (1 + vcr)^b * ctcvr^c * f(videolen_s)",
            "let": {"f(x)": "1 / (1 + log1p(x / 30))"},
            "params": {"a": {"value": 0.3, "min": 0, "max": 2},
                       "b": {"value": 1.2, "min": 0, "max": 5},
                       "c": {"value": 0.5, "min": 0, "max": 2}}},
   "power": {"multiplicative": {"ctr": 0.3, "vcr": {"weight": 1.2, "bias": 1.0, "scale": 1.0}},
             "videolen": {"fn": "log1p", "scale_s": 30, "combine": "/"}},
   "sum": {"additive": {"ctr": 1.0, "like": 4.0, "vcr": {"weight": 0.5}}}},
 "default": {"formula": "base"},
 "layers": [{"name": "fusion", "salt": "fusion-2026-11", "unit": "user_id",
   "experiments": [{"name": "vcr-up", "buckets": [[0, 999]], "arms": [
      {"name": "control", "share": 50},
      {"name": "treatment", "share": 50, "set": {"params": {"b": 1.6}}}]}]}],
 "force": {"712": {"fusion": "vcr-up/treatment"}}}"""
)


def plan(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The document of DESIGN §6, changed: ("formulas/base/score", "ctr") sets one value."""
    document = copy.deepcopy(PLAN)
    for path, value in changes:
        put(document, path, value)
    return document


def put(document: Any, path: str, value: Any) -> None:
    *steps, last = [int(s) if s.isdecimal() else s for s in path.split("/")]
    for step in steps:
        document = document[step]
    if isinstance(document, list) and last == len(document):
        document.append(value)
    else:
        document[last] = value


def without(path: str) -> dict[str, Any]:
    document: Any = plan()
    whole = document
    *steps, last = path.split("/")
    for step in steps:
        document = document[int(step) if step.isdecimal() else step]
    del document[last]
    return whole


def schema() -> FeatureSchema:
    return FeatureSchema(
        features=(
            Categorical(name="user_id", side="user", vocabulary=("712", "99")),
            Numeric(name="age", side="user", default=30.0),
            Categorical(name="hour", side="context", vocabulary=("8", "20"), default="8"),
            Categorical(name="city", side="context", vocabulary=("Graz", "Linz")),
            Numeric(name="videolen_s", side="item", default=15.0),
        ),
        attributes=(Attribute(name="videolen_s", unit="s", default=15.0, min=1.0, max=600.0),),
        user_id_feature="user_id",
    )


def manifest(name: str = "toy", version: int = 1, heads: tuple[str, ...] = HEADS) -> Manifest:
    return Manifest(
        name=name,
        version=version,
        created_at="2026-11-22T00:00:00Z",
        schema=schema(),
        heads=tuple(
            Head(name=h, meaning=h, sample_space="impression", kind="binary") for h in heads
        ),
        opset=20,
        files={},
        parity=Parity(max_abs_difference={}, tolerance=1e-5, batches=(1,)),
        training=Training(config={}),
    )


def golden(heads: tuple[str, ...] = HEADS, **replaced: list[float]) -> Golden:
    """Eight rows; head values differ by row and head, unless replaced by name."""
    raw = [
        {
            "user": {"id": "712" if row % 2 else "99", "features": {"age": 20 + row}},
            "context": {"hour": 8 if row < 4 else 20},
            "item": {"id": str(row), "features": {"videolen_s": 10.0 * row + 1}},
        }
        for row in range(ROWS)
    ]
    outputs = {
        head: np.array([(1 + row + place) / 20 for row in range(ROWS)], np.float32)
        for place, head in enumerate(heads)
    }
    outputs |= {head: np.array(values, np.float32) for head, values in replaced.items()}
    return Golden(raw=raw, encoded=encode_raw(schema(), raw), heads=outputs)


class ToyModels:
    """`Models` over packages in memory: "name" -> (manifest, golden), whatever the alias."""

    def __init__(self, **packages: tuple[Manifest, Golden]) -> None:
        self._packages = packages or {"toy": (manifest(), golden())}

    def manifest(self, ref: ModelRef) -> Manifest:
        return self._packages[ref.name][0]

    def golden(self, ref: ModelRef) -> Golden:
        return self._packages[ref.name][1]


def publish_package(
    root: Path, name: str = "toy", heads: tuple[str, ...] = HEADS, **replaced: list[float]
) -> int:
    """Publish a package without a graph: manifest and golden rows are all that plans look at."""

    def write(directory: Path, version: int) -> None:
        (directory / "manifest.json").write_text(manifest(name, version, heads).to_json())
        write_golden(directory, golden(heads, **replaced))

    repository = Repository(root)
    version = repository.publish(name, write)
    if not repository.read_aliases(name):
        repository.set_alias(name, "champion", version)
    return version
