"""Rewrite an ONNX graph so that the products of a bank's groups stay one product, for integers.

On integers a product costs so little that what stands between products costs as much. Here the
groups of a bank are one convolution by groups, which reads and writes (rows, groups * width) as it
stands, and a mixture of experts is one product of the gates' weights and the pool: both can take
and give 8 bits. The values stay the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from training.columns import Index, Origin, Unsupported
from training.matrices import (
    OPERATORS,
    Groups,
    broadcast,
    few_terms,
    matmul,
    spread,
    spread_constant,
)
from training.matrix_writer import Operators, Writer

_NARROW = 64  # columns that are written as one product with the zeros between groups


def as_groups(model: onnx.ModelProto, *, one_row: Sequence[str] = ()) -> onnx.ModelProto:
    """The same function with groups together; arguments and result as those of `as_matrices`."""
    try:
        return Writer(model, one_row, _OPERATORS).write()
    except Unsupported:
        return model


def _sum(writer: Writer, node: onnx.NodeProto, start: int, stop: int) -> str:
    """All columns at once; a constant row goes into the product that it is added to."""
    left, right = node.input
    out, near = writer.graph.axes[node.output[0]], writer.graph.axes.get(left)
    if (start, stop) != (0, out.width):
        return writer.part(writer.block(node.output[0], 0, out.width), start, stop, out.width)
    product = writer.graph.producer.get(left)
    is_row = near is not None and near.width == out.width and writer.graph.is_constant(right)
    if is_row and product is not None and product.op_type == "MatMul":
        groups = Groups.of(writer, product)
        if _is_wide(groups):
            row = spread_constant(writer, right, out)
            return _convolution(writer, product, groups, row)
    return broadcast(writer, node, start, stop)


def _product(writer: Writer, node: onnx.NodeProto, start: int, stop: int) -> str:
    groups = Groups.of(writer, node)
    width = writer.graph.axes[node.output[0]].width
    if len(groups.matrix) == 1 or not _reads_apart(groups):
        return matmul(writer, node, start, stop)
    if (start, stop) != (0, width):
        return writer.part(writer.block(node.output[0], 0, width), start, stop, width)
    if _is_wide(groups):
        return _convolution(writer, node, groups, np.zeros(width, np.float32))
    blocks = np.zeros((len(groups.matrix), groups.matrices.shape[1], width), np.float32)
    for at, (block, matrix) in enumerate(zip(blocks, groups.matrix, strict=True)):
        out = groups.matrices.shape[2]
        block[:, at * out : (at + 1) * out] = groups.matrices[matrix]
    weight = writer.constant(blocks.reshape(-1, width))
    return writer.node("MatMul", [_source(writer, node, groups), weight])


def _reads_apart(groups: Groups) -> bool:
    return len(np.unique(groups.source)) == len(groups.source)


def _is_wide(groups: Groups) -> bool:
    count, width = len(groups.matrix), groups.matrices.shape[2]
    return count > 1 and _reads_apart(groups) and count * width > _NARROW


def _source(writer: Writer, node: onnx.NodeProto, groups: Groups) -> str:
    depth = groups.matrices.shape[1]
    at = groups.source[:, None] * depth + np.arange(depth)
    return writer.columns(node.input[0], at.reshape(-1))


def _convolution(writer: Writer, node: onnx.NodeProto, groups: Groups, row: NDArray[Any]) -> str:
    count, (_, depth, width) = len(groups.matrix), groups.matrices.shape
    weight = groups.matrices[groups.matrix].transpose(0, 2, 1).reshape(count * width, depth, 1)
    # The rows stand where a convolution has its positions: ONNX Runtime (1.31.1) computes those
    # of 8 bits with the channels last, and drops both transposes.
    source = writer.node(
        "Reshape", [_source(writer, node, groups), writer.ints([1, -1, count * depth])]
    )
    source = writer.node("Transpose", [source], perm=[0, 2, 1])
    inputs = [source, writer.constant(weight), writer.constant(row)]
    made = writer.node("Conv", inputs, group=count, kernel_shape=[1])
    made = writer.node("Transpose", [made], perm=[0, 2, 1])
    return writer.node("Reshape", [made, writer.ints([-1, count * width])])


def _mixture(writer: Writer, node: onnx.NodeProto, start: int, stop: int) -> str:
    """Sums over experts of weight * expert, for all groups: (rows, G, K) times (rows, K, H)."""
    mixed = _Mixture.of(writer, node)
    if mixed is None:
        return few_terms(writer, node, start, stop)
    width = writer.graph.axes[node.output[0]].width
    if (start, stop) != (0, width):
        return writer.part(writer.block(node.output[0], 0, width), start, stop, width)
    groups, terms = mixed.expert.shape
    experts = len(mixed.experts.value) // mixed.width
    weights = writer.columns(mixed.weights, np.arange(groups * terms))
    place = np.zeros((groups, terms, groups, experts), np.float32)
    group, term = np.indices(mixed.expert.shape)
    place[group, term, group, mixed.expert] = 1
    spread_out = place.reshape(groups * terms, -1)
    if not np.array_equal(spread_out, np.eye(len(spread_out))):
        weights = writer.node("MatMul", [weights, writer.constant(spread_out)])
    weights = writer.node("Reshape", [weights, writer.ints([-1, groups, experts])])
    made = writer.node("MatMul", [weights, _pool(writer, mixed, experts)])
    return writer.node("Reshape", [made, writer.ints([-1, width])])


def _pool(writer: Writer, mixed: "_Mixture", experts: int) -> str:
    key = (
        "pool",
        mixed.experts.values,
        mixed.experts.value.tobytes(),
        mixed.experts.column.tobytes(),
    )
    if key not in writer.done:
        shape = writer.ints([-1, experts, mixed.width])
        writer.done[key] = writer.node("Reshape", [writer.joined(mixed.experts), shape])
    return writer.done[key]


@dataclass(frozen=True)
class _Mixture:
    """ReduceSum(weights (rows, G, P, 1) * pool (rows, G, P, H), axis P)."""

    weights: str
    experts: Origin  # (K * H,), those that the pool holds, each once
    expert: Index  # (G, P), which of them stands there
    width: int  # H

    @classmethod
    def of(cls, writer: Writer, node: onnx.NodeProto) -> "_Mixture | None":
        """None for another kind of sum."""
        product = writer.graph.producer.get(node.input[0])
        out = writer.graph.axes[node.input[0]]
        if product is None or product.op_type != "Mul" or out.row or len(out.dims) != 3:
            return None
        if len(node.input) < 2 or not writer.graph.is_constant(node.input[1]):
            return None
        groups, terms, width = out.dims
        shapes = {name: writer.graph.axes.get(name) for name in product.input}
        narrow = [n for n, axes in shapes.items() if axes and axes.dims == (groups, terms, 1)]
        wide = [name for name in shapes if name not in narrow]
        if writer.graph.constant(node.input[1]).tolist() != [2] or not narrow or len(wide) != 1:
            return None
        if wide[0] not in writer.graph.axes:  # a table that is the same for all rows
            return None
        pool = spread(writer, wide[0], out)
        value, column = (one.reshape(-1, width) for one in (pool.value, pool.column))
        first = np.stack([value[:, 0], column[:, 0]], axis=1)
        if (value != first[:, :1]).any() or (column != first[:, 1:] + np.arange(width)).any():
            return None
        experts, at = np.unique(first, axis=0, return_inverse=True)
        columns = (experts[:, 1:] + np.arange(width)).reshape(-1)
        origin = Origin(pool.values, np.repeat(experts[:, 0], width), columns)
        return cls(narrow[0], origin, at.reshape(groups, terms), width)


_OPERATORS: Operators = {
    **{name: write for name, write in OPERATORS.items() if name != "Softmax"},
    "Add": _sum,
    "MatMul": _product,
    "ReduceSum": _mixture,
}
