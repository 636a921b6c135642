"""Which columns of which value the operators that only move numbers about read.

A value of an ONNX graph with a row axis is seen as a matrix: one row a row, its other axes
flattened into columns, wherever the row axis stands.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Index = NDArray[np.int64]


class Unsupported(ValueError):
    """A graph, or one operator, that cannot be seen as matrices."""


@dataclass(frozen=True)
class Axes:
    """The shape of a value: its other axes' lengths, and where the row axis stands."""

    dims: tuple[int, ...]
    row: int

    @property
    def width(self) -> int:
        return prod(self.dims)

    @property
    def one(self) -> tuple[int, ...]:
        """The shape with a single row."""
        return (*self.dims[: self.row], 1, *self.dims[self.row :])

    @property
    def columns(self) -> Index:
        """Numbers of the columns, in the shape with a single row."""
        return np.arange(self.width).reshape(self.one)


class Graph:
    """What is known of a graph's values before it is run."""

    def __init__(self, model: onnx.ModelProto, one_row: Sequence[str]) -> None:
        known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        self.producer = {out: node for node in known.node for out in node.output}
        self._initializers = {tensor.name: tensor for tensor in known.initializer}
        self._arrays: dict[str, NDArray[Any]] = {}
        self.axes: dict[str, Axes] = {}
        seen, names = set(), set()
        for value in (*known.input, *known.value_info, *known.output):
            shape = value.type.tensor_type.shape.dim
            free = [at for at, dim in enumerate(shape) if not dim.HasField("dim_value")]
            names |= {shape[at].dim_param for at in free}
            if len(free) > 1 or len(names) > 1:
                raise Unsupported(f"{value.name} has more than one free axis")
            row = 0 if value.name in one_row else free[0] if free else None
            if row is not None:
                dims = tuple(dim.dim_value for at, dim in enumerate(shape) if at != row)
                self.axes[value.name] = Axes(dims, row)
            seen.add(value.name)
        for out, node in self.producer.items():
            if out not in seen:
                raise Unsupported(f"the shape of {out} ({node.op_type}) is not known")

    def is_constant(self, name: str) -> bool:
        node = self.producer.get(name)
        return name in self._initializers or (node is not None and node.op_type == "Constant")

    def constant(self, name: str) -> NDArray[Any]:
        """The value of a constant."""
        if name not in self._arrays:
            tensor = self._initializers.get(name)
            if tensor is None:
                tensor = attribute(self.producer[name], "value", None)
            if not isinstance(tensor, onnx.TensorProto):
                raise Unsupported(f"{name} is no constant tensor")
            self._arrays[name] = numpy_helper.to_array(tensor)
        return self._arrays[name]

    def initializer(self, name: str) -> onnx.TensorProto | None:
        return self._initializers.get(name)


@dataclass(frozen=True)
class Origin:
    """Where each column of a value comes from: a value, and a column of it."""

    values: tuple[str, ...]
    value: Index  # (columns,), an index into `values`
    column: Index  # (columns,)

    def take(self, at: Index) -> "Origin":
        return Origin(self.values, self.value[at], self.column[at])


def origin(graph: Graph, name: str, known: dict[str, Origin]) -> Origin:
    """Follow a value through all operators that only move columns; `known` is filled on the way."""
    if name not in known:
        width = graph.axes[name].width
        found = _moved(graph, name)
        if found is None:
            known[name] = Origin((name,), np.zeros(width, np.int64), np.arange(width))
        else:
            known[name] = _through(graph, found, known)
    return known[name]


def _through(graph: Graph, near: Origin, known: dict[str, Origin]) -> Origin:
    far = [origin(graph, name, known) for name in near.values]
    values = tuple(dict.fromkeys(name for one in far for name in one.values))
    value, column = np.empty_like(near.value), np.empty_like(near.column)
    for at, one in enumerate(far):
        mine = near.value == at
        taken = one.take(near.column[mine])
        value[mine] = np.array([values.index(name) for name in one.values])[taken.value]
        column[mine] = taken.column
    return Origin(values, value, column)


@dataclass(frozen=True)
class Run:
    """Columns [start, stop) in which every operand is one value's adjacent columns, or one column.

    Each operand: value, first column, and whether the columns are adjacent.
    """

    start: int
    stop: int
    operands: tuple[tuple[str, int, bool], ...]


def runs(operands: Sequence[Origin]) -> list[Run]:
    """Cut operands of the same width into as few runs as one pass finds."""
    width = len(operands[0].value)
    steps = []
    for one in operands:
        step = np.where(np.diff(one.value) == 0, np.diff(one.column), -1)
        steps.append(np.where((step == 0) | (step == 1), step, -1))
    found, start = [], 0
    while start < width:
        stop = start + 1
        if stop < width and all(step[start] >= 0 for step in steps):
            changes = [np.flatnonzero(step[start:] != step[start]) for step in steps]
            stop = start + 1 + min(int(c[0]) if len(c) else width - 1 - start for c in changes)
        found.append(
            Run(
                start,
                stop,
                tuple(
                    (
                        one.values[one.value[start]],
                        int(one.column[start]),
                        stop - start == 1 or bool(step[start] == 1),
                    )
                    for one, step in zip(operands, steps, strict=True)
                ),
            )
        )
        start = stop
    return found


def attribute(node: onnx.NodeProto, name: str, otherwise: Any) -> Any:
    """An attribute of a node, or `otherwise`."""
    for one in node.attribute:
        if one.name == name:
            return helper.get_attribute_value(one)
    return otherwise


def _moved(graph: Graph, name: str) -> Origin | None:
    """The columns of a value as columns of its node's inputs; None if the node computes."""
    node = graph.producer.get(name)
    move = None if node is None else _MOVES.get(node.op_type)
    if node is None or move is None or node.input[0] not in graph.axes:
        return None
    try:
        column = move(graph, node, name)
    except Unsupported:
        return None
    if isinstance(column, Origin):
        return column
    if column.shape != graph.axes[name].one:
        return None
    column = column.reshape(-1)
    return Origin((node.input[0],), np.zeros(len(column), np.int64), column)


def _reshape(graph: Graph, node: onnx.NodeProto, out: str) -> Index:
    """Right as long as the row axis has the same numbers of columns on its left and right."""
    before, after = graph.axes[node.input[0]], graph.axes[out]
    if prod(before.dims[: before.row]) != prod(after.dims[: after.row]):
        raise Unsupported("rows are mixed with columns")
    return np.arange(before.width).reshape(after.one)


def _transpose(graph: Graph, node: onnx.NodeProto, out: str) -> Index:
    axes = graph.axes[node.input[0]]
    perm = attribute(node, "perm", list(reversed(range(len(axes.one)))))
    if perm.index(axes.row) != graph.axes[out].row:
        raise Unsupported("another axis became the row axis")
    return axes.columns.transpose(perm)


def _expand(graph: Graph, node: onnx.NodeProto, out: str) -> Index:
    source, target = graph.axes[node.input[0]], graph.axes[out]
    if len(source.one) - source.row != len(target.one) - target.row:
        raise Unsupported("another axis became the row axis")
    return np.broadcast_to(source.columns, target.one)


def _slice(graph: Graph, node: onnx.NodeProto, out: str) -> Index:
    axes = graph.axes[node.input[0]]
    given = [graph.constant(name).tolist() if name else None for name in node.input[1:]]
    starts, ends, along, steps = (*given, None, None)[:4]
    cut = [slice(None)] * len(axes.one)
    for at, (start, end) in enumerate(zip(starts, ends, strict=True)):
        step = steps[at] if steps else 1
        if step < 1:
            raise Unsupported("a slice that runs backwards")
        cut[_axis(axes, along[at] if along else at)] = slice(start, end, step)
    return axes.columns[tuple(cut)]


def _gather(graph: Graph, node: onnx.NodeProto, out: str) -> Index:
    axes = graph.axes[node.input[0]]
    if not graph.is_constant(node.input[1]):
        raise Unsupported("positions that depend on the rows")
    axis = _axis(axes, attribute(node, "axis", 0))
    return np.take(axes.columns, graph.constant(node.input[1]), axis=axis)


def _split(graph: Graph, node: onnx.NodeProto, out: str) -> Index:
    axes = graph.axes[node.input[0]]
    axis = _axis(axes, attribute(node, "axis", 0))
    place = axis - (axis > axes.row)
    sizes = [graph.axes[name].dims[place] for name in node.output]
    at = list(node.output).index(out)
    return np.split(axes.columns, np.cumsum(sizes)[:-1], axis=axis)[at]


def _concat(graph: Graph, node: onnx.NodeProto, out: str) -> Origin:
    if any(name not in graph.axes for name in node.input):
        raise Unsupported("a constant among what is joined")
    axis = _axis(graph.axes[out], attribute(node, "axis", 0))
    given = [graph.axes[name] for name in node.input]
    columns = np.concatenate([one.columns for one in given], axis=axis)
    value = np.concatenate([np.full(one.one, at) for at, one in enumerate(given)], axis=axis)
    return Origin(tuple(node.input), value.reshape(-1), columns.reshape(-1))


def _axis(axes: Axes, axis: int) -> int:
    axis %= len(axes.one)
    if axis == axes.row:
        raise Unsupported("rows are picked or joined")
    return axis


_MOVES: Mapping[str, Callable[[Graph, onnx.NodeProto, str], Index | Origin]] = {
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Identity": _reshape,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
