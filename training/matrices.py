"""Rewrite an ONNX graph of (rows, group, width) tensors as one of (rows, width) matrices.

Training computes all experts of a bank as one batched MatMul, and all gates as one weighted sum
over a pool. In a served graph that costs transposes and copies; here every group is a matrix of
its own. The values stay the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from training.columns import Axes, Index, Origin, Unsupported, attribute, origin, runs
from training.matrix_writer import Operators, Writer

_UNARY = (
    *("Abs", "Cast", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "LeakyRelu", "Log", "Neg"),
    *("Not", "Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt", "Tanh"),
)
_BROADCAST = (
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max"),
    *("Min", "Mul", "Or", "Pow", "Sub", "Sum", "Where"),
)
_FEW = 16  # terms of a sum written out


def unary(writer: Writer, node: onnx.NodeProto, start: int, stop: int) -> str:
    source, *others = node.input
    if any(name and not writer.graph.is_constant(name) for name in others):
        raise Unsupported("bounds that are computed")
    inputs = [writer.columns(source, np.arange(start, stop)), *map(writer.plain, others)]
    return writer.copy(node, inputs)


def broadcast(writer: Writer, node: onnx.NodeProto, start: int, stop: int) -> str:
    """An operator on numbers that stand at the same place, or whose operand stands for many."""
    out = writer.graph.axes[node.output[0]]
    at = np.arange(start, stop)
    numbers: dict[str, NDArray[Any]] = {}
    given: dict[str, Origin] = {}
    for name in node.input:
        if name in writer.graph.axes:
            given[name] = spread(writer, name, out).take(at)
        elif writer.graph.is_constant(name):
            numbers[name] = spread_constant(writer, name, out)[at]
        else:
            raise Unsupported(f"{name} is computed, but not of rows")
    if not given:
        raise Unsupported(f"{node.output[0]} is computed of no rows")
    parts = []
    for run in runs(list(given.values())):
        operands = dict(zip(given, run.operands, strict=True))
        if not any(adjacent for _, _, adjacent in operands.values()):
            raise Unsupported("one column spread over many")
        inputs = []
        for name in node.input:
            if name in numbers:
                inputs.append(writer.constant(numbers[name][run.start : run.stop]))
            else:
                value, first, adjacent = operands[name]
                width = run.stop - run.start if adjacent else 1
                inputs.append(writer.block(value, first, first + width))
        parts.append(writer.copy(node, inputs))
    return parts[0] if len(parts) == 1 else writer.node("Concat", parts, axis=1)


def spread(writer: Writer, name: str, out: Axes) -> Origin:
    """The columns of an operand that stand at each place of the result."""
    mine = writer.graph.axes[name]
    if len(mine.one) - mine.row != len(out.one) - out.row:
        raise Unsupported("row axes of operands do not stand together")
    columns = np.broadcast_to(mine.columns, out.one).reshape(-1)
    return origin(writer.graph, name, writer.origins).take(columns)


def spread_constant(writer: Writer, name: str, out: Axes) -> NDArray[Any]:
    """(columns,): the number of a constant that stands at each place of the result."""
    try:
        return np.broadcast_to(writer.graph.constant(name), out.one).reshape(-1)
    except ValueError:
        raise Unsupported(f"{name} has a number a row") from None


@dataclass(frozen=True)
class Groups:
    """A product by groups: which matrix each group is multiplied by, and which input it reads."""

    matrices: NDArray[Any]  # (M, depth, width)
    matrix: Index  # (groups,), an index into `matrices`
    source: Index  # (groups,): it reads columns [source * depth, (source + 1) * depth)

    @classmethod
    def of(cls, writer: Writer, node: onnx.NodeProto) -> "Groups":
        """Raises Unsupported for a product of two values with rows, or along rows."""
        if node.input[0] not in writer.graph.axes or not writer.graph.is_constant(node.input[1]):
            raise Unsupported("a product of two values with rows")
        source, out = writer.graph.axes[node.input[0]], writer.graph.axes[node.output[0]]
        weight = writer.graph.constant(node.input[1])
        if weight.ndim < 2 or source.row == len(source.one) - 1:
            raise Unsupported("rows are summed over")
        depth, width = weight.shape[-2:]
        lead = (*out.one[:-2], out.one[-2])
        matrix = np.arange(int(np.prod(weight.shape[:-2])))
        matrix = np.broadcast_to(matrix.reshape(*weight.shape[:-2], 1), lead).reshape(-1)
        groups = np.broadcast_to(source.columns[..., 0] // depth, lead).reshape(-1)
        return cls(weight.reshape(-1, depth, width), matrix, groups)


def matmul(writer: Writer, node: onnx.NodeProto, start: int, stop: int) -> str:
    """One product for every group that the columns [start, stop) touch."""
    groups = Groups.of(writer, node)
    _, depth, width = groups.matrices.shape
    parts = []
    for group in range(start // width, (stop - 1) // width + 1):
        first, last = max(start - group * width, 0), min(stop - group * width, width)
        at = np.arange(depth) + groups.source[group] * depth
        matrix = int(groups.matrix[group])
        key = (node.input[1], matrix, first, last)
        if key not in writer.done:
            writer.done[key] = writer.constant(groups.matrices[matrix][:, first:last])
        parts.append(writer.node("MatMul", [writer.columns(node.input[0], at), writer.done[key]]))
    return parts[0] if len(parts) == 1 else writer.node("Concat", parts, axis=1)


def gemm(writer: Writer, node: onnx.NodeProto, start: int, stop: int) -> str:
    source, weight, *bias = node.input
    if source not in writer.graph.axes or not all(map(writer.graph.is_constant, node.input[1:])):
        raise Unsupported("a product of two values with rows")
    plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0
    if not plain or attribute(node, "transA", 0) or writer.graph.axes[source].row:
        raise Unsupported("a scaled or transposed product")
    matrix = writer.graph.constant(weight)
    matrix = matrix.T if attribute(node, "transB", 0) else matrix
    at = np.arange(writer.graph.axes[source].width)
    made = writer.node(
        "MatMul", [writer.columns(source, at), writer.constant(matrix[:, start:stop])]
    )
    for name in bias:
        spread = spread_constant(writer, name, writer.graph.axes[node.output[0]])
        made = writer.node("Add", [made, writer.constant(spread[start:stop])])
    return made


def softmax(writer: Writer, node: onnx.NodeProto, start: int, stop: int) -> str:
    axes = writer.graph.axes[node.output[0]]
    axis = attribute(node, "axis", -1) % len(axes.one)
    if axis != len(axes.one) - 1 or axes.row == axis:
        raise Unsupported("a softmax along another axis than the last")
    width = axes.dims[-1]
    parts = []
    for group in range(start // width, (stop - 1) // width + 1):
        key = (node.output[0], "group", group)
        if key not in writer.done:
            at = np.arange(group * width, (group + 1) * width)
            source = writer.columns(node.input[0], at)
            writer.done[key] = writer.node("Softmax", [source], axis=1)
        first, last = max(start - group * width, 0), min(stop - group * width, width)
        parts.append(writer.part(writer.done[key], first, last, width))
    return parts[0] if len(parts) == 1 else writer.node("Concat", parts, axis=1)


def few_terms(writer: Writer, node: onnx.NodeProto, start: int, stop: int) -> str:
    """A sum over a few groups; one along the last axis is left to ReduceSum."""
    axes = writer.graph.axes[node.input[0]]
    if len(node.input) < 2 or not writer.graph.is_constant(node.input[1]):
        raise Unsupported("axes that are computed")
    along = {int(axis) % len(axes.one) for axis in writer.graph.constant(node.input[1])}
    if axes.row in along or not along:
        raise Unsupported("a sum over rows")
    kept = [axis for axis in range(len(axes.one)) if axis not in along]
    columns = axes.columns.transpose(*kept, *sorted(along))
    terms = columns.reshape(-1, int(np.prod([axes.one[axis] for axis in along])))
    if len(axes.one) - 1 in along or terms.shape[1] > _FEW:
        raise Unsupported("many terms")
    return writer.node("Sum", [writer.columns(node.input[0], t) for t in terms[start:stop].T])


OPERATORS: Operators = {
    **dict.fromkeys(_UNARY, unary),
    **dict.fromkeys(_BROADCAST, broadcast),
    "Gemm": gemm,
    "MatMul": matmul,
    "ReduceSum": few_terms,
    "Softmax": softmax,
}


def as_matrices(model: onnx.ModelProto, *, one_row: Sequence[str] = ()) -> onnx.ModelProto:
    """The same function, computed matrix by matrix; `model` itself where that cannot be done.

    Args:
        model: all its inputs and outputs have one free axis, the rows.
        one_row: inputs with a single row, which goes with every row.
    """
    try:
        return Writer(model, one_row, OPERATORS).write()
    except Unsupported:
        return model
