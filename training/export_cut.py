"""The ranker cut into user.onnx, item.onnx and rank.onnx, measured against model.onnx."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from service.contract.encode import Array
from service.contract.errors import PackageError
from service.contract.features import FeatureSchema
from service.contract.manifest import Parity
from service.scoring.errors import RunFailed
from service.scoring.graphs import (
    CUT,
    CUT_FILES,
    ITEM_FILE,
    ITEM_PART,
    RANK_FILE,
    USER_FILE,
    USER_PART,
    USER_SIDES,
    CutGraphs,
    Graphs,
    WholeGraph,
)
from service.scoring.session import Session
from training.grouped import as_groups
from training.matrices import as_matrices
from training.parity import largest_difference
from training.picking import picking
from training.rankers.cut import CutHeads, NotCut, cut
from training.rankers.heads import Heads
from training.to_onnx import to_onnx

TOLERANCE = 1e-5
_BATCHES = (1, 7, 300)
_USERS = 8


@dataclass(frozen=True)
class Cut:
    """File name -> content, and how far the heads are from those of model.onnx."""

    files: Mapping[str, bytes]
    parity: Parity | None
    says: str  # 'user/item/rank', or why there are no files
    pairs: bytes = b""
    """rank.onnx, still of the parts of its rows: what is rounded and calibrated."""
    grouped: bytes = b""
    """The same with the groups of a bank together; `pairs` where heads differ."""


def export_cut(
    heads: Heads, schema: FeatureSchema, whole: WholeGraph, inputs: Mapping[str, Array]
) -> Cut:
    """Cut, export and measure; a ranker that cannot be cut, or not exactly, is served whole.

    Args:
        whole: the same heads in one graph.
        inputs: encoded rows (N, width) by input name, N >= 1: parity is measured on them.
    """
    try:
        parts = cut(heads, schema)
    except NotCut as reason:
        return Cut({}, None, str(reason))
    files, pairs, grouped = _export(parts, schema)
    user, item, rank = (Session(files[name], label=name) for name in CUT_FILES)
    graphs = CutGraphs(user, item, rank, schema, heads.heads)
    parity = _measure(graphs, whole, schema, inputs)
    worst = max(parity.max_abs_difference.values())
    if not worst <= TOLERANCE:
        return Cut({}, parity, f"not cut: heads would differ by {worst:.2g} from model.onnx")
    try:
        grouped_rank = Session(grouped, label="rank.onnx with its groups together")
        together = CutGraphs(user, item, grouped_rank, schema, heads.heads)
        apart = max(_measure(together, graphs, schema, inputs).max_abs_difference.values())
    except (PackageError, RunFailed):
        apart = np.inf
    if not apart <= TOLERANCE:
        grouped = pairs
    return Cut(files, parity, CUT, pairs, grouped)


def _export(parts: CutHeads, schema: FeatureSchema) -> tuple[dict[str, bytes], bytes, bytes]:
    """The files, and rank.onnx before it picks, alone and grouped."""
    part = ("float32", parts.width)
    encoded = {name: (dtype, width) for name, (_, dtype, width) in schema.inputs.items()}
    user = {name: encoded[name] for name in parts.user.inputs}
    item = {name: encoded[name] for name in parts.item.inputs}
    rank = {USER_PART: part, ITEM_PART: part} | {n: encoded[n] for n in parts.rank.inputs}
    banks = to_onnx(parts.rank, rank, list(parts.rank.heads), one_row=[USER_PART])
    pairs = as_matrices(banks, one_row=[USER_PART])
    models = {
        USER_FILE: to_onnx(parts.user, user, [USER_PART]),
        ITEM_FILE: to_onnx(parts.item, item, [ITEM_PART]),
        RANK_FILE: picking(pairs),
    }
    files = {name: model.SerializeToString() for name, model in models.items()}
    grouped = as_groups(banks, one_row=[USER_PART])
    return files, pairs.SerializeToString(), grouped.SerializeToString()


def _measure(
    graphs: Graphs, whole: Graphs, schema: FeatureSchema, inputs: Mapping[str, Array]
) -> Parity:
    """Requests of several sizes: the user of one row, the items of the rows from there on."""
    rows = len(next(iter(inputs.values())))
    worst: dict[str, float] = {}
    for size in _BATCHES:
        for first in np.unique(np.linspace(0, rows - 1, _USERS).astype(np.int64)):
            at = (first + np.arange(size)) % rows
            request = {
                name: inputs[name][at[:1] if side in USER_SIDES else at]
                for name, (side, _, _) in schema.inputs.items()
            }
            found, expected = graphs.run(request), whole.run(request)
            for head, values in expected.items():
                difference = largest_difference(values, found[head])
                worst[head] = float(np.maximum(worst.get(head, 0.0), difference))
    return Parity(max_abs_difference=worst, tolerance=TOLERANCE, batches=_BATCHES)
