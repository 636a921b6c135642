"""A trained ranker -> one ONNX file, a named output a head, proved equal to PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from service.contract.encode import Array
from service.contract.features import FeatureSchema
from service.contract.manifest import Parity
from service.scoring.graphs import WholeGraph
from service.scoring.session import Session
from training.export_cut import Cut, export_cut
from training.matrices import as_matrices
from training.parity import largest_difference
from training.rankers.heads import Heads
from training.to_onnx import to_onnx

PARITY_BATCHES = (1, 7, 300)
TOLERANCE = 1e-5
MAX_BYTES = 1_900_000_000


class ExportError(ValueError):
    """A ranker that cannot become a package; the sentence says what differs or does not fit."""


@dataclass(frozen=True)
class Graph:
    """A finished `model.onnx`, what was measured on it, and the same cut into three."""

    content: bytes
    opset: int
    parity: Parity
    cut: Cut


def export_graph(heads: Heads, schema: FeatureSchema, inputs: Mapping[str, Array]) -> Graph:
    """Export and prove.

    Args:
        heads: the ranker as it is served.
        inputs: encoded rows (N, width) by input name, real ones, N >= 1: parity is measured on
            them.

    Raises:
        ExportError: over 1.9 GB, or a head that ONNX Runtime computes differently.
    """
    heads.eval()
    blocks = {name: (dtype, width) for name, (_, dtype, width) in schema.inputs.items()}
    model = to_onnx(heads, blocks, list(heads.heads))
    check_size(model.ByteSize())
    content = model.SerializeToString()
    whole = WholeGraph(Session(content), schema, heads.heads)
    parity = _measure(heads, whole, schema, inputs)
    check_parity(parity)
    parts = export_cut(heads, schema, whole, inputs)
    if not parts.files:  # then this is the graph that is served
        content = as_matrices(model).SerializeToString()
        whole = WholeGraph(Session(content), schema, heads.heads)
        parity = _measure(heads, whole, schema, inputs)
        check_parity(parity)
    opset = next(o.version for o in model.opset_import if o.domain == "")
    return Graph(content, opset, parity, parts)


def check_size(size: int) -> None:
    """Raise ExportError for a graph that one ONNX file cannot hold."""
    if size > MAX_BYTES:
        raise ExportError(
            f"model.onnx would have {size:,} bytes; one file holds at most {MAX_BYTES:,},"
            " because protobuf ends at 2 GB. Hash large vocabularies or raise their min_count"
        )


def check_parity(parity: Parity) -> None:
    """Raise ExportError when a head differs by more than the tolerance, or is no number."""
    for head, difference in parity.max_abs_difference.items():
        if not difference <= parity.tolerance:
            raise ExportError(
                f"head {head}: ONNX Runtime differs from PyTorch by {difference:.2g}"
                f" (at most {parity.tolerance:g}), so nothing is published"
            )


def run_heads(heads: Heads, inputs: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
    """The heads as PyTorch computes them: head name -> (N,) float32."""
    with torch.inference_mode():
        values = heads(*(torch.from_numpy(inputs[name]) for name in heads.inputs))
    return {name: value.numpy() for name, value in zip(heads.heads, values, strict=True)}


def _measure(
    heads: Heads, whole: WholeGraph, schema: FeatureSchema, inputs: Mapping[str, Array]
) -> Parity:
    worst = dict.fromkeys(heads.heads, 0.0)
    for size in PARITY_BATCHES:
        batch = {
            name: np.resize(inputs[name], (size, w)) for name, (_, _, w) in schema.inputs.items()
        }
        expected, found = run_heads(heads, batch), whole.run(batch)
        for name in worst:
            difference = largest_difference(expected[name], found[name])
            worst[name] = float(np.maximum(worst[name], difference))
    return Parity(max_abs_difference=worst, tolerance=TOLERANCE, batches=PARITY_BATCHES)
