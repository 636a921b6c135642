"""The int8 variant of an exported ranker: calibrated and judged on validation rows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from service.contract.encode import Array
from service.contract.features import FeatureSchema
from service.contract.golden import write_heads
from service.contract.manifest import Variant
from service.scoring.graphs import (
    CUT,
    CUT_FILES,
    ITEM_FILE,
    ITEM_PART,
    MODEL_FILE,
    RANK_FILE,
    RANK_SIDES,
    USER_PART,
    USER_SIDES,
    CutGraphs,
    Graphs,
    WholeGraph,
)
from service.scoring.session import Heads, Session
from training.byte_parts import for_many_users, in_bytes
from training.export import Graph
from training.int8_cost import Limits, Measured, overlap, refused_unmeasured
from training.picking import picking
from training.quantize import NothingToRound, quantize

NAME = "int8"
GOLDEN_FILE = f"golden.{NAME}.npz"
_CALIBRATION_ROWS = 16_384
_BATCH = 512
_CANDIDATES = 500
_LISTS = 100
_LIMITS = Limits()


@dataclass(frozen=True)
class Judged:
    """Validation rows. `labels`: head name -> (N,) 0 or 1, NaN outside its sample space."""

    inputs: Mapping[str, Array]
    labels: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Int8:
    """The graphs on integers and those around them, or no contents when they were refused."""

    contents: Mapping[str, bytes]  # by the file of the package that they stand for
    graphs: Graphs
    variant: Variant

    @property
    def files(self) -> dict[str, str]:
        return {name: name.replace(".onnx", f".{NAME}.onnx") for name in self.contents}

    def write(self, directory: Path, encoded: Mapping[str, Array]) -> Variant:
        """Write the graph and its heads of the golden rows; what the manifest says of them."""
        if not self.contents:
            return self.variant
        for name, content in self.contents.items():
            (directory / self.files[name]).write_bytes(content)
        rows = len(next(iter(encoded.values())))
        runs = [self.graphs.run({n: b[r : r + 1] for n, b in encoded.items()}) for r in range(rows)]
        golden = {head: np.concatenate([run[head] for run in runs]) for head in runs[0]}
        write_heads(directory / GOLDEN_FILE, golden)
        return self.variant.model_copy(update={"files": self.files, "golden": GOLDEN_FILE})


def export_int8(
    graph: Graph,
    heads: Iterable[str],
    schema: FeatureSchema,
    rows: Judged,
    limits: Limits = _LIMITS,
) -> Int8:
    """Quantise what is computed for every pair, and measure it against the exact graphs.

    Args:
        graph: the finished export.
        heads: names of the heads.
        rows: real ones, N >= 1, in any order.
    """
    heads = tuple(heads)
    cut = graph.cut.says == CUT
    exact = _open(graph, schema, heads, {})
    content = graph.cut.pairs if cut else graph.content
    fed = list(_fed(exact, schema, rows.inputs))
    calibration = fed[: -(-_CALIBRATION_ROWS // _BATCH)]

    def observe(probe: bytes) -> Iterator[Heads]:
        session = Session(probe, label="calibration")
        return (session.run(batch) for batch in calibration)

    replaces = RANK_FILE if cut else MODEL_FILE
    before = _run(Session(content, label=replaces), fed)
    refused: Int8 | None = None

    def judge(contents: Mapping[str, bytes], after: Heads) -> Int8:
        rounded = _open(graph, schema, heads, contents)
        found = Measured(before, after, _lists(exact, rounded, schema, rows.inputs))
        return Int8(contents, rounded, found.variant(rows.labels, limits))

    # With its groups together a graph is faster, and rounds more often.
    for form in dict.fromkeys((graph.cut.grouped, content) if cut else (content,)):
        try:
            whole = quantize(onnx.load_model_from_string(form), observe)
        except NothingToRound as reason:
            refused = refused or Int8({}, exact, refused_unmeasured(str(reason), limits))
            continue
        if isinstance(exact, CutGraphs):
            made = _in_bytes(graph, exact, whole, schema, heads, rows.inputs)
            if made is not None and not (int8 := judge(*made)).variant.refused:
                return int8
        after = _run(Session(whole.SerializeToString(), label=replaces), fed)
        served = picking(whole) if cut else whole
        int8 = judge({replaces: served.SerializeToString()}, after)
        if not int8.variant.refused:
            return int8
        refused = replace(int8, contents={})
    assert refused is not None, "there is at least one form"
    return refused


def _in_bytes(
    graph: Graph,
    exact: CutGraphs,
    rank: onnx.ModelProto,
    schema: FeatureSchema,
    heads: tuple[str, ...],
    inputs: Mapping[str, Array],
) -> tuple[dict[str, bytes], Heads] | None:
    """The files of a cut model whose items' parts are bytes, and the heads of all rows."""

    def fed(graphs: CutGraphs, some: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        return (_parts(graphs, batch) | _pairs(schema, batch) for batch in _batches(some))

    def observe(probe: bytes) -> Iterator[Heads]:
        session = Session(probe, label="calibration")
        calibration = {name: block[:_CALIBRATION_ROWS] for name, block in inputs.items()}
        return (session.run(batch) for batch in fed(exact, calibration))

    made = in_bytes(onnx.load_model_from_string(graph.cut.files[ITEM_FILE]), rank, observe)
    if made is None:
        return None
    item, taking = made
    contents = {
        ITEM_FILE: item.SerializeToString(),
        RANK_FILE: picking(taking).SerializeToString(),
    }
    rounded = _open(graph, schema, heads, contents)
    assert isinstance(rounded, CutGraphs), "what is cut stays cut"
    each = Session(for_many_users(taking).SerializeToString(), label=RANK_FILE)
    return contents, _run(each, fed(rounded, inputs))


def _open(
    graph: Graph, schema: FeatureSchema, heads: tuple[str, ...], other: Mapping[str, bytes]
) -> Graphs:
    if graph.cut.says != CUT:
        return WholeGraph(Session(other.get(MODEL_FILE, graph.content)), schema, heads)
    files = {**graph.cut.files, **other}
    user, item, rank = (Session(files[name], label=name) for name in CUT_FILES)
    return CutGraphs(user, item, rank, schema, heads)


def _batches(inputs: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    for start in range(0, len(next(iter(inputs.values()))), _BATCH):
        yield {name: block[start : start + _BATCH] for name, block in inputs.items()}


def _fed(
    graphs: Graphs, schema: FeatureSchema, inputs: Mapping[str, Array]
) -> Iterator[dict[str, Array]]:
    """The rows, each with its own user, as inputs of the graph that is quantised."""
    for batch in _batches(inputs):
        if isinstance(graphs, WholeGraph):
            yield batch
            continue
        parts = _parts(graphs, batch)
        total = parts[ITEM_PART] + parts[USER_PART]
        yield {USER_PART: np.zeros_like(total[:1]), ITEM_PART: total} | _pairs(schema, batch)


def _parts(graphs: CutGraphs, batch: Mapping[str, Array]) -> dict[str, Array]:
    return {USER_PART: graphs.user_part(batch), ITEM_PART: graphs.item_part(batch)}


def _pairs(schema: FeatureSchema, batch: Mapping[str, Array]) -> dict[str, Array]:
    return {name: b for name, b in batch.items() if schema.inputs[name][0] in RANK_SIDES}


def _run(session: Session, fed: Iterable[Mapping[str, Array]]) -> Heads:
    runs = [session.run(batch) for batch in fed]
    return {head: np.concatenate([run[head] for run in runs]) for head in runs[0]}


def _lists(
    exact: Graphs, rounded: Graphs, schema: FeatureSchema, inputs: Mapping[str, Array]
) -> list[dict[str, float]]:
    """Head -> share of the ten best that stay the ten best, for users with 500 candidates each."""
    rows = len(next(iter(inputs.values())))
    draw = np.random.default_rng(0)
    found = []
    for _ in range(_LISTS):
        at = draw.choice(rows, min(_CANDIDATES, rows), replace=False)
        request = {
            name: block[at[:1] if schema.inputs[name][0] in USER_SIDES else at]
            for name, block in inputs.items()
        }
        before, after = exact.run(request), rounded.run(request)
        found.append({head: overlap(before[head], after[head]) for head in before})
    return found
