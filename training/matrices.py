"""Rewrite an ONNX graph of (rows, group, width) tensors as one of (rows, width) matrices.

Training computes all experts of a bank as one batched MatMul, and all gates as one weighted sum
over a pool. In a served graph that costs transposes and copies; here every group is a matrix of
its own, and moving groups about (Reshape, Transpose, Slice, Concat, Expand …) costs nothing: it
only decides which columns of which matrix somebody reads. The values stay the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from training.columns import Axes, Graph, Index, Origin, Unsupported, attribute, origin, runs

_UNARY = (
    *("Abs", "Cast", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "LeakyRelu", "Log", "Neg"),
    *("Not", "Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt", "Tanh"),
)
_BROADCAST = (
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max"),
    *("Min", "Mul", "Or", "Pow", "Sub", "Sum", "Where"),
)
_FEW = 16  # terms of a sum written out


def as_matrices(model: onnx.ModelProto, *, one_row: Sequence[str] = ()) -> onnx.ModelProto:
    """The same function, computed matrix by matrix; `model` itself where that cannot be done.

    Args:
        model: all its inputs and outputs have one free axis, the rows.
        one_row: inputs with a single row, which goes with every row.
    """
    try:
        return _Writer(model, one_row).write()
    except Unsupported:
        return model


class _Writer:
    """Writes, from the outputs backwards, the matrices somebody reads."""

    def __init__(self, model: onnx.ModelProto, one_row: Sequence[str]) -> None:
        self._model = model
        self._graph = Graph(model, one_row)
        self._origins: dict[str, Origin] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._done: dict[tuple[Any, ...], str] = {}
        self._count = 0

    def write(self) -> onnx.ModelProto:
        for output in self._model.graph.output:
            self._write_output(output.name)
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
        read = {output.name for output in model.graph.output}
        nodes: list[onnx.NodeProto] = []
        for node in reversed(self._nodes):  # what was written before a node proved unsupported
            if read.intersection(node.output):
                nodes.append(node)
                read.update(node.input)
        model.graph.node.extend(reversed(nodes))
        kept = (tensor for name, tensor in self._initializers.items() if name in read)
        model.graph.initializer.extend(kept)
        return model

    def _write_output(self, name: str) -> None:
        if name not in self._graph.axes:
            raise Unsupported(f"output {name} has no rows")
        made = self._tensor(name)
        last = self._nodes[-1] if self._nodes else None
        is_new = made not in {output.name for output in self._model.graph.output}
        if last is not None and list(last.output) == [made] and is_new:
            last.output[0] = name
            self._done = {key: name if done == made else done for key, done in self._done.items()}
        else:
            self._nodes.append(helper.make_node("Identity", [made], [name]))

    # -- matrices ---------------------------------------------------------------------------

    def _columns(self, name: str, at: Index) -> str:
        """(rows, len(at)): some columns of a value."""
        return self._from(origin(self._graph, name, self._origins).take(at))

    def _from(self, wanted: Origin) -> str:
        parts = []
        for run in runs([wanted]):
            ((value, first, adjacent),) = run.operands
            width = run.stop - run.start
            if adjacent:
                parts.append(self._block(value, first, first + width))
            else:
                column = self._block(value, first, first + 1)
                parts.append(self._node("Gather", [column, self._ints([0] * width)], axis=1))
        return parts[0] if len(parts) == 1 else self._node("Concat", parts, axis=1)

    def _block(self, value: str, start: int, stop: int) -> str:
        """(rows, stop - start): adjacent columns of a value that is computed or given."""
        key = (value, start, stop)
        if key not in self._done:
            self._done[key] = self._write_block(value, start, stop)
        return self._done[key]

    def _write_block(self, value: str, start: int, stop: int) -> str:
        node = self._graph.producer.get(value)
        write = None if node is None else _WRITTEN.get(node.op_type)
        if node is not None and write is not None:
            try:
                return write(self, node, start, stop)
            except Unsupported:
                pass  # this one node is kept as it is
        return self._part(self._matrix(value), start, stop, self._graph.axes[value].width)

    def _unary(self, node: onnx.NodeProto, start: int, stop: int) -> str:
        source, *others = node.input
        if any(name and not self._graph.is_constant(name) for name in others):
            raise Unsupported("bounds that are computed")
        inputs = [self._columns(source, np.arange(start, stop)), *map(self._plain, others)]
        return self._copy(node, inputs)

    def _broadcast(self, node: onnx.NodeProto, start: int, stop: int) -> str:
        """An operator on numbers that stand at the same place, or whose operand stands for many."""
        out = self._graph.axes[node.output[0]]
        at = np.arange(start, stop)
        numbers: dict[str, NDArray[Any]] = {}
        given: dict[str, Origin] = {}
        for name in node.input:
            if name in self._graph.axes:
                given[name] = self._spread(name, out).take(at)
            elif self._graph.is_constant(name):
                numbers[name] = self._spread_constant(name, out)[at]
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
                    inputs.append(self._constant(numbers[name][run.start : run.stop]))
                else:
                    value, first, adjacent = operands[name]
                    width = run.stop - run.start if adjacent else 1
                    inputs.append(self._block(value, first, first + width))
            parts.append(self._copy(node, inputs))
        return parts[0] if len(parts) == 1 else self._node("Concat", parts, axis=1)

    def _spread(self, name: str, out: Axes) -> Origin:
        mine = self._graph.axes[name]
        if len(mine.one) - mine.row != len(out.one) - out.row:
            raise Unsupported("row axes of operands do not stand together")
        columns = np.broadcast_to(mine.columns, out.one).reshape(-1)
        return origin(self._graph, name, self._origins).take(columns)

    def _spread_constant(self, name: str, out: Axes) -> NDArray[Any]:
        try:
            return np.broadcast_to(self._graph.constant(name), out.one).reshape(-1)
        except ValueError:
            raise Unsupported(f"{name} has a number a row") from None

    def _matmul(self, node: onnx.NodeProto, start: int, stop: int) -> str:
        """One product for every group that the columns [start, stop) touch."""
        if node.input[0] not in self._graph.axes or not self._graph.is_constant(node.input[1]):
            raise Unsupported("a product of two values with rows")
        source, out = self._graph.axes[node.input[0]], self._graph.axes[node.output[0]]
        weight = self._graph.constant(node.input[1])
        if weight.ndim < 2 or source.row == len(source.one) - 1:
            raise Unsupported("rows are summed over")
        depth, width = weight.shape[-2:]
        lead = (*out.one[:-2], out.one[-2])
        weights = np.arange(int(np.prod(weight.shape[:-2])))
        weights = np.broadcast_to(weights.reshape(*weight.shape[:-2], 1), lead).reshape(-1)
        groups = np.broadcast_to(source.columns[..., 0] // depth, lead).reshape(-1)
        matrices = weight.reshape(-1, depth, width)
        parts = []
        for group in range(start // width, (stop - 1) // width + 1):
            first, last = max(start - group * width, 0), min(stop - group * width, width)
            at = np.arange(groups[group] * depth, (groups[group] + 1) * depth)
            key = (node.input[1], int(weights[group]), first, last)
            if key not in self._done:
                self._done[key] = self._constant(matrices[weights[group]][:, first:last])
            parts.append(self._node("MatMul", [self._columns(node.input[0], at), self._done[key]]))
        return parts[0] if len(parts) == 1 else self._node("Concat", parts, axis=1)

    def _gemm(self, node: onnx.NodeProto, start: int, stop: int) -> str:
        source, weight, *bias = node.input
        if source not in self._graph.axes or not all(map(self._graph.is_constant, node.input[1:])):
            raise Unsupported("a product of two values with rows")
        plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0
        if not plain or attribute(node, "transA", 0) or self._graph.axes[source].row:
            raise Unsupported("a scaled or transposed product")
        matrix = self._graph.constant(weight)
        matrix = matrix.T if attribute(node, "transB", 0) else matrix
        at = np.arange(self._graph.axes[source].width)
        made = self._node(
            "MatMul", [self._columns(source, at), self._constant(matrix[:, start:stop])]
        )
        for name in bias:
            spread = self._spread_constant(name, self._graph.axes[node.output[0]])
            made = self._node("Add", [made, self._constant(spread[start:stop])])
        return made

    def _softmax(self, node: onnx.NodeProto, start: int, stop: int) -> str:
        axes = self._graph.axes[node.output[0]]
        axis = attribute(node, "axis", -1) % len(axes.one)
        if axis != len(axes.one) - 1 or axes.row == axis:
            raise Unsupported("a softmax along another axis than the last")
        width = axes.dims[-1]
        parts = []
        for group in range(start // width, (stop - 1) // width + 1):
            key = (node.output[0], "group", group)
            if key not in self._done:
                at = np.arange(group * width, (group + 1) * width)
                source = self._columns(node.input[0], at)
                self._done[key] = self._node("Softmax", [source], axis=1)
            first, last = max(start - group * width, 0), min(stop - group * width, width)
            parts.append(self._part(self._done[key], first, last, width))
        return parts[0] if len(parts) == 1 else self._node("Concat", parts, axis=1)

    def _sum(self, node: onnx.NodeProto, start: int, stop: int) -> str:
        """A sum over a few groups; one along the last axis is left to ReduceSum."""
        axes = self._graph.axes[node.input[0]]
        if len(node.input) < 2 or not self._graph.is_constant(node.input[1]):
            raise Unsupported("axes that are computed")
        along = {int(axis) % len(axes.one) for axis in self._graph.constant(node.input[1])}
        if axes.row in along or not along:
            raise Unsupported("a sum over rows")
        kept = [axis for axis in range(len(axes.one)) if axis not in along]
        columns = axes.columns.transpose(*kept, *sorted(along))
        terms = columns.reshape(-1, int(np.prod([axes.one[axis] for axis in along])))
        if len(axes.one) - 1 in along or terms.shape[1] > _FEW:
            raise Unsupported("many terms")
        return self._node("Sum", [self._columns(node.input[0], t) for t in terms[start:stop].T])

    # -- values in their own shape ----------------------------------------------------------

    def _matrix(self, value: str) -> str:
        """(rows, all columns) of a graph input, or of what a node gives that is kept as it is."""
        key = (value, "matrix")
        if key not in self._done:
            self._done[key] = self._as_matrix(self._kept(value), self._graph.axes[value])
        return self._done[key]

    def _as_matrix(self, tensor: str, axes: Axes) -> str:
        if axes.row:
            rest = [at for at in range(len(axes.one)) if at != axes.row]
            tensor = self._node("Transpose", [tensor], perm=[axes.row, *rest])
        if len(axes.dims) == 1:
            return tensor
        return self._node("Reshape", [tensor, self._ints([-1, axes.width])])

    def _tensor(self, value: str) -> str:
        """A value in its own shape, made of its columns."""
        axes = self._graph.axes[value]
        tensor = self._columns(value, np.arange(axes.width))
        if len(axes.dims) != 1:
            tensor = self._node("Reshape", [tensor, self._ints([-1, *axes.dims])])
        if axes.row:
            perm = [*range(1, axes.row + 1), 0, *range(axes.row + 1, len(axes.one))]
            tensor = self._node("Transpose", [tensor], perm=perm)
        return tensor

    def _kept(self, value: str) -> str:
        """A graph input, or a node's output by the same node as before."""
        node = self._graph.producer.get(value)
        if node is None:
            return value
        key = (node.output[0], "kept")
        if key not in self._done:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.input[:] = [self._plain(name) for name in node.input]
            copied.output[:] = [self._name() if name else "" for name in node.output]
            self._nodes.append(copied)
            for name, made in zip(node.output, copied.output, strict=True):
                self._done[name, "as made"] = made
            self._done[key] = ""
        return self._done[value, "as made"]

    def _plain(self, name: str) -> str:
        """An input of a node that is kept."""
        if not name:
            return ""
        if name in self._graph.axes:
            key = (name, "tensor")
            if key not in self._done:
                self._done[key] = self._tensor(name)
            return self._done[key]
        tensor = self._graph.initializer(name)
        if tensor is None:
            return self._kept(name)
        self._initializers[name] = tensor
        return name

    # -- writing ----------------------------------------------------------------------------

    def _part(self, matrix: str, start: int, stop: int, width: int) -> str:
        if (start, stop) == (0, width):
            return matrix
        key = (matrix, "part", start, stop)
        if key not in self._done:
            bounds = [self._ints([n]) for n in (start, stop, 1)]
            self._done[key] = self._node("Slice", [matrix, *bounds])
        return self._done[key]

    def _copy(self, node: onnx.NodeProto, inputs: Sequence[str]) -> str:
        """The same operator on other inputs."""
        made = self._node(node.op_type, inputs)
        self._nodes[-1].attribute.extend(node.attribute)
        return made

    def _node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        made = self._name()
        self._nodes.append(helper.make_node(operator, list(inputs), [made], **attributes))
        return made

    def _constant(self, values: NDArray[Any]) -> str:
        name = self._name()
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _ints(self, values: Sequence[int]) -> str:
        key = ("ints", *values)
        if key not in self._done:
            self._done[key] = self._constant(np.array(values, np.int64))
        return self._done[key]

    def _name(self) -> str:
        self._count += 1
        return f"m{self._count}"


_WRITTEN: Mapping[str, Callable[[_Writer, onnx.NodeProto, int, int], str]] = {
    **dict.fromkeys(_UNARY, _Writer._unary),
    **dict.fromkeys(_BROADCAST, _Writer._broadcast),
    "Gemm": _Writer._gemm,
    "MatMul": _Writer._matmul,
    "ReduceSum": _Writer._sum,
    "Softmax": _Writer._softmax,
}
