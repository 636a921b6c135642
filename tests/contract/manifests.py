"""Manifests made in Python, for tests that need no model."""

from typing import Any

from service.contract.features import FeatureSchema
from service.contract.heads import Head
from service.contract.manifest import Manifest, Parity, Training
from tests.contract.schemas import FULL

HEADS = (
    Head(name="ctr", meaning="P(click | impression)", sample_space="impression", kind="binary"),
    Head(name="cvr", meaning="P(buy | click)", sample_space="click", kind="binary"),
    Head(
        name="ctcvr",
        meaning="P(click and buy | impression)",
        sample_space="impression",
        kind="binary",
        product=("ctr", "cvr"),
    ),
)


def make_manifest(
    name: str = "tiny", version: int = 1, schema: FeatureSchema = FULL, **fields: Any
) -> Manifest:
    """A manifest with no files; `fields` replace any of its fields."""
    values: dict[str, Any] = {
        "name": name,
        "version": version,
        "created_at": "2026-11-01T00:00:00Z",
        "schema": schema,
        "heads": HEADS,
        "opset": 20,
        "files": {},
        "parity": Parity(max_abs_difference={}, tolerance=1e-5, batches=(1, 7, 300)),
        "training": Training(config={}),
    }
    return Manifest.model_validate(values | fields)
