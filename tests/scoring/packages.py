"""Publish tiny real packages: a graph from the onnx helpers, golden rows from ONNX Runtime."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.golden import JSON_FILE, NPZ_FILE, Golden, encode_raw, write_golden
from service.contract.heads import Head
from service.contract.manifest import FILE, Manifest, Parity, Training, digest_file
from service.contract.repository import CHAMPION, Repository
from tests.scoring.graphs import HEADS, OPSET, PRODUCTS, SCHEMA, break_off, slow_down, tiny_graph

GOLDEN_ROWS = 32
_SPACES = {"cvr": "click"}


@dataclass(frozen=True)
class Changes:
    """What to do wrong on purpose; the digests are those of what is then written."""

    model: Callable[[Any], None] | None = None  # edits the onnx.ModelProto before it is written
    golden: Callable[[Golden], Golden] | None = None
    manifest: Callable[[dict[str, Any]], None] | None = None  # edits the JSON document


def publish_tiny(
    root: Path,
    name: str = "tiny",
    *,
    seed: int = 0,
    heads: Collection[str] = HEADS,
    nan: bool = False,
    slow_above: int | None = None,
    fails_above: int | None = None,
    champion: bool = True,
    changes: Changes = Changes(),
) -> int:
    """Publish the next version of `name` under `root` and return its number.

    `nan`: the item `i13` has NaN heads (no golden row shows it), as a bad embedding row would give.
    `slow_above`: a run of more rows than this (at least 32) goes on for minutes unless stopped.
    `fails_above`: ONNX Runtime breaks off a run of more rows than this.
    """
    repository = Repository(root)

    def write(directory: Path, version: int) -> None:
        model = tiny_graph(tuple(heads), seed=seed, nan_item=13 if nan else None)
        if slow_above is not None:
            slow_down(model, slow_above)
        if fails_above is not None:
            break_off(model, fails_above)
        golden = _golden(model, tuple(heads), seed)
        if changes.model is not None:
            changes.model(model)
        (directory / "model.onnx").write_bytes(model.SerializeToString())
        write_golden(directory, changes.golden(golden) if changes.golden else golden)
        write_manifest(directory, name, version, tuple(heads), changes.manifest)

    version = repository.publish(name, write)
    if champion:
        repository.set_alias(name, CHAMPION, version)
    return version


def write_manifest(
    directory: Path,
    name: str,
    version: int,
    heads: tuple[str, ...],
    change: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Write `manifest.json` for the files that lie in `directory` now."""
    manifest = Manifest(
        name=name,
        version=version,
        created_at="2026-01-01T00:00:00Z",
        schema=SCHEMA,
        heads=tuple(
            Head(
                name=head,
                meaning=f"P({head})",
                sample_space=_SPACES.get(head, "impression"),
                kind="regression" if head == "vcr" else "binary",
                product=PRODUCTS.get(head),
            )
            for head in heads
        ),
        opset=OPSET,
        files={f: digest_file(directory / f) for f in ("model.onnx", JSON_FILE, NPZ_FILE)},
        parity=Parity(max_abs_difference=dict.fromkeys(heads, 0.0), tolerance=1e-5, batches=(1,)),
        training=Training(config={}),
    )
    document = json.loads(manifest.to_json())
    if change is not None:
        change(document)
    (directory / FILE).write_text(json.dumps(document))


def raw_rows(seed: int = 0, rows: int = GOLDEN_ROWS) -> list[dict[str, Any]]:
    """Golden raw rows; some users and items are unknown, some have no features."""
    rng = np.random.default_rng(seed + 1)
    found = []
    for row in range(rows):
        item = {
            "author_id": f"a{rng.integers(10)}",
            "tags": [f"t{t}" for t in rng.integers(9, size=rng.integers(1, 4))],
            "videolen_s": round(float(rng.uniform(3, 90)), 1),
            "item_ctr_7d": round(float(rng.uniform(0, 0.5)), 3),
            "price": round(float(rng.uniform(1, 99)), 2),
        }
        user = {
            "age_range": "18-23",
            "user_clicks_7d": int(rng.integers(30)),
            "recent_items": [f"i{n}" for n in rng.integers(14, 400, size=2)],
            "user_author_rates": {f"a{n}": [n, round(n / 20, 2)] for n in range(5)},
        }
        found.append(
            {
                "user": {
                    "id": f"{'x' if row % 3 == 0 else 'u'}{row}",
                    "features": {} if row % 4 == 0 else user,
                },
                "context": {"tab": int(rng.integers(3)), "hour": int(rng.integers(24))},
                "item": {
                    "id": f"{'x' if row % 5 == 0 else 'i'}{row + 14}",
                    "features": {} if row % 4 == 1 else item,
                },
            }
        )
    return found


def _golden(model: Any, heads: tuple[str, ...], seed: int) -> Golden:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    raw = raw_rows(seed)
    encoded = encode_raw(SCHEMA, raw)
    outputs: Mapping[str, NDArray[np.float32]] = dict(
        zip(heads, session.run(heads, encoded), strict=True)
    )
    return Golden(raw, encoded, outputs)
