"""Publish the committed demo package again: as it is, with other item parts, or turned round."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.golden import NPZ_FILE
from service.contract.manifest import digest_file
from service.contract.repository import CHAMPION, Repository

DEMO = Path(__file__).parents[2] / "models" / "demo"
_ITEM_MEAN = "embedding.sides.item.mean"


def publish_demo(
    root: Path, name: str = "demo", *, shift: float = 0.0, turned: bool = False
) -> int:
    """The next version of `name` under `root`; the champion is the first one.

    `shift`: more is taken off the item numbers, so that every item part differs. `turned`: the
    heads stand in the opposite order, in the graphs and in the manifest.
    """
    repository = Repository(root)

    def write(directory: Path, version: int) -> None:
        shutil.copytree(DEMO / "1", directory, dirs_exist_ok=True)
        if shift:
            _shift(directory / "model.onnx", shift)
            _shift(directory / "item.onnx", shift)
            _write_heads(directory)
        path = directory / "manifest.json"
        manifest = json.loads(path.read_text()) | {"name": name, "version": version}
        if turned:
            manifest["heads"].reverse()
            for graph in ("model.onnx", "rank.onnx"):
                _turn(directory / graph)
        manifest["files"] = {
            name: digest_file(directory / name).model_dump() for name in manifest["files"]
        }
        path.write_text(json.dumps(manifest))

    version = repository.publish(name, write)
    if version == 1:
        repository.set_alias(name, CHAMPION, version)
    return version


def _shift(path: Path, shift: float) -> None:
    onnx: Any = pytest.importorskip("onnx")
    model = onnx.load(path)
    [mean] = [i for i in model.graph.initializer if i.name.endswith(_ITEM_MEAN)]
    moved = onnx.numpy_helper.to_array(mean) + np.float32(shift)
    mean.CopyFrom(onnx.numpy_helper.from_array(moved, mean.name))
    path.write_bytes(model.SerializeToString())


def _turn(path: Path) -> None:
    onnx: Any = pytest.importorskip("onnx")
    model = onnx.load(path)
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(reversed(outputs))
    path.write_bytes(model.SerializeToString())


def _write_heads(directory: Path) -> None:
    """Golden outputs of the changed graph."""
    runtime: Any = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(directory / NPZ_FILE, allow_pickle=False) as stored:
        arrays = dict(stored)
    encoded = {name: values for name, values in arrays.items() if not name.startswith("head:")}
    heads = [output.name for output in session.get_outputs()]
    outputs = zip(heads, session.run(heads, encoded), strict=True)
    arrays |= {f"head:{name}": values for name, values in outputs}
    np.savez(directory / NPZ_FILE, **arrays)
