"""The int8 variant of an exported ranker: calibrated and judged on validation rows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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
from training.export import Graph
from training.metrics import auc
from training.quantize import NothingToRound, quantize

NAME = "int8"
GOLDEN_FILE = f"golden.{NAME}.npz"
TOLERANCE = 1e-3  # of a golden head: on another processor a number may round to the next step
_CALIBRATION_ROWS = 16_384
_BATCH = 512
_CANDIDATES = 500
_LISTS = 100
_TOP = 10


@dataclass(frozen=True)
class Judged:
    """Validation rows. `labels`: head name -> (N,) 0 or 1, NaN outside its sample space."""

    inputs: Mapping[str, Array]
    labels: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Limits:
    """What a variant may cost, for the head where it costs most.

    `calibration`: how far the mean of a head may move, as a share of it. A formula multiplies
    heads and compares them with constants, so their size counts and not their order alone; 1% is
    less than what a head is off from what happened a day later, and more than rounding moves it.
    """

    auc_loss: float = 0.0005
    top10_overlap: float = 0.98
    calibration: float = 0.01


@dataclass(frozen=True)
class Int8:
    """The graph on integers and the graphs around it, or no content when it was refused."""

    replaces: str  # the file of the package
    content: bytes
    graphs: Graphs
    variant: Variant

    @property
    def file(self) -> str:
        return self.replaces.replace(".onnx", f".{NAME}.onnx")

    def write(self, directory: Path, encoded: Mapping[str, Array]) -> Variant:
        """Write the graph and its heads of the golden rows; what the manifest says of them."""
        if not self.content:
            return self.variant
        (directory / self.file).write_bytes(self.content)
        rows = len(next(iter(encoded.values())))
        runs = [self.graphs.run({n: b[r : r + 1] for n, b in encoded.items()}) for r in range(rows)]
        golden = {head: np.concatenate([run[head] for run in runs]) for head in runs[0]}
        write_heads(directory / GOLDEN_FILE, golden)
        files = {self.replaces: self.file}
        return self.variant.model_copy(update={"files": files, "golden": GOLDEN_FILE})


def export_int8(
    graph: Graph,
    heads: Iterable[str],
    schema: FeatureSchema,
    rows: Judged,
    limits: Limits = Limits(),
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
    content = graph.cut.files[RANK_FILE] if cut else graph.content
    fed = list(_fed(exact, schema, rows.inputs))
    calibration = fed[: -(-_CALIBRATION_ROWS // _BATCH)]

    def observe(probe: bytes) -> Iterator[Heads]:
        session = Session(probe, label="calibration")
        return (session.run(batch) for batch in calibration)

    replaces = RANK_FILE if cut else MODEL_FILE
    before = _run(Session(content, label=replaces), fed)
    # With its groups together a graph is faster, and rounds more often.
    refused: Int8 | None = None
    for form in dict.fromkeys((graph.cut.grouped, content) if cut else (content,)):
        try:
            whole = quantize(onnx.load_model_from_string(form), observe).SerializeToString()
        except NothingToRound as reason:
            refused = refused or Int8(replaces, b"", exact, _refused(str(reason), limits))
            continue
        rounded = _open(graph, schema, heads, {replaces: whole})
        after = _run(Session(whole, label=replaces), fed)
        found = _Measured(before, after, _lists(exact, rounded, schema, rows.inputs))
        variant = found.variant(rows.labels, limits)
        if not variant.refused:
            return Int8(replaces, whole, rounded, variant)
        refused = Int8(replaces, b"", rounded, variant)
    assert refused is not None, "there is at least one form"
    return refused


def _refused(reason: str, limits: Limits) -> Variant:
    return Variant(
        refused=reason,
        auc_loss={},
        auc_loss_limit=limits.auc_loss,
        top10_overlap={},
        top10_overlap_limit=limits.top10_overlap,
        calibration={},
        calibration_limit=limits.calibration,
        max_abs_difference={},
        rows=0,
        lists=0,
    )


def _open(
    graph: Graph, schema: FeatureSchema, heads: tuple[str, ...], other: Mapping[str, bytes]
) -> Graphs:
    if graph.cut.says != CUT:
        return WholeGraph(Session(other.get(MODEL_FILE, graph.content)), schema, heads)
    files = {**graph.cut.files, **other}
    user, item, rank = (Session(files[name], label=name) for name in CUT_FILES)
    return CutGraphs(user, item, rank, schema, heads)


def _fed(
    graphs: Graphs, schema: FeatureSchema, inputs: Mapping[str, Array]
) -> Iterator[dict[str, Array]]:
    """The rows, each with its own user, as inputs of the graph that is quantised."""
    rows = len(next(iter(inputs.values())))
    for start in range(0, rows, _BATCH):
        batch = {name: block[start : start + _BATCH] for name, block in inputs.items()}
        if isinstance(graphs, WholeGraph):
            yield batch
            continue
        part = graphs.item_part(batch) + graphs.user_part(batch)
        pairs = {n: b for n, b in batch.items() if schema.inputs[n][0] in RANK_SIDES}
        yield {USER_PART: np.zeros_like(part[:1]), ITEM_PART: part} | pairs


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
        found.append({head: _overlap(before[head], after[head]) for head in before})
    return found


def _overlap(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    best = [np.argsort(-values, kind="stable")[:_TOP] for values in (before, after)]
    return len(np.intersect1d(*best)) / len(best[0])


def _moved(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """What is added to the mean, as a share of the mean size."""
    values = before.astype(np.float64)
    return float((after - values).mean() / max(np.abs(values).mean(), 1e-12))


@dataclass(frozen=True)
class _Measured:
    """Heads of all rows on both graphs, and the overlaps of lists."""

    before: Heads
    after: Heads
    lists: list[dict[str, float]]

    def variant(self, labels: Mapping[str, NDArray[np.float32]], limits: Limits) -> Variant:
        loss = {head: self._auc_loss(head, label) for head, label in labels.items()}
        loss = {head: value for head, value in loss.items() if np.isfinite(value)}
        overlap = {h: float(np.mean([one[h] for one in self.lists])) for h in self.before}
        refused = [
            f"AUC of {head} falls by {value:.5f}, more than {limits.auc_loss:g}"
            for head, value in loss.items()
            if not value <= limits.auc_loss
        ]
        refused += [
            f"the ten best by {head} overlap by {value:.3f}, less than {limits.top10_overlap:g}"
            for head, value in overlap.items()
            if not value >= limits.top10_overlap
        ]
        moved = {head: _moved(values, self.after[head]) for head, values in self.before.items()}
        refused += [
            f"the mean of {head} moves by {value:.2%}, more than {limits.calibration:.2%}"
            for head, value in moved.items()
            if not abs(value) <= limits.calibration
        ]
        return Variant(
            refused="; ".join(refused),
            tolerance=TOLERANCE,
            auc_loss=loss,
            auc_loss_limit=limits.auc_loss,
            top10_overlap=overlap,
            top10_overlap_limit=limits.top10_overlap,
            calibration=moved,
            calibration_limit=limits.calibration,
            max_abs_difference={
                head: float(np.abs(values - self.after[head]).max())
                for head, values in self.before.items()
            },
            rows=len(next(iter(self.before.values()))),
            lists=len(self.lists),
        )

    def _auc_loss(self, head: str, label: NDArray[np.float32]) -> float:
        known = ~np.isnan(label)
        truth = label[known].astype(np.float64)
        before, after = (h[head][known].astype(np.float64) for h in (self.before, self.after))
        return auc(truth, before) - auc(truth, after)
