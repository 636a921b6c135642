"""Write a graph anew from its outputs backwards, each value as (rows, columns) somebody reads.

Operators are written by a table of functions; what is not in it, or what its function refuses, is
kept as it is. Moving numbers about (Reshape, Transpose, Slice, Concat, Expand …) costs nothing: it
only decides which columns of which matrix somebody reads.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from training.columns import Axes, Graph, Index, Origin, Unsupported, origin, runs

Operators = Mapping[str, Callable[["Writer", onnx.NodeProto, int, int], str]]
"""Operator -> what writes columns [start, stop) of a node's output and returns their name."""


class Writer:
    """Writes, from the outputs backwards, the matrices somebody reads."""

    def __init__(
        self, model: onnx.ModelProto, one_row: Sequence[str], operators: Operators
    ) -> None:
        self._model, self._operators = model, operators
        self.graph = Graph(model, one_row)
        self.origins: dict[str, Origin] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self.done: dict[tuple[Any, ...], str] = {}
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
        if name not in self.graph.axes:
            raise Unsupported(f"output {name} has no rows")
        made = self._tensor(name)
        last = self._nodes[-1] if self._nodes else None
        is_new = made not in {output.name for output in self._model.graph.output}
        if last is not None and list(last.output) == [made] and is_new:
            last.output[0] = name
            self.done = {key: name if done == made else done for key, done in self.done.items()}
        else:
            self._nodes.append(helper.make_node("Identity", [made], [name]))

    # -- matrices ---------------------------------------------------------------------------

    def columns(self, name: str, at: Index) -> str:
        """(rows, len(at)): some columns of a value."""
        return self.joined(origin(self.graph, name, self.origins).take(at))

    def joined(self, wanted: Origin) -> str:
        parts = []
        for run in runs([wanted]):
            ((value, first, adjacent),) = run.operands
            width = run.stop - run.start
            if adjacent:
                parts.append(self.block(value, first, first + width))
            else:
                column = self.block(value, first, first + 1)
                parts.append(self.node("Gather", [column, self.ints([0] * width)], axis=1))
        return parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=1)

    def block(self, value: str, start: int, stop: int) -> str:
        """(rows, stop - start): adjacent columns of a value that is computed or given."""
        key = (value, start, stop)
        if key not in self.done:
            self.done[key] = self._write_block(value, start, stop)
        return self.done[key]

    def _write_block(self, value: str, start: int, stop: int) -> str:
        node = self.graph.producer.get(value)
        write = None if node is None else self._operators.get(node.op_type)
        if node is not None and write is not None:
            try:
                return write(self, node, start, stop)
            except Unsupported:
                pass  # this one node is kept as it is
        return self.part(self.matrix(value), start, stop, self.graph.axes[value].width)

    def matrix(self, value: str) -> str:
        """(rows, all columns) of a graph input, or of what a node gives that is kept as it is."""
        key = (value, "matrix")
        if key not in self.done:
            self.done[key] = self._as_matrix(self._kept(value), self.graph.axes[value])
        return self.done[key]

    def _as_matrix(self, tensor: str, axes: Axes) -> str:
        if axes.row:
            rest = [at for at in range(len(axes.one)) if at != axes.row]
            tensor = self.node("Transpose", [tensor], perm=[axes.row, *rest])
        if len(axes.dims) == 1:
            return tensor
        return self.node("Reshape", [tensor, self.ints([-1, axes.width])])

    def _tensor(self, value: str) -> str:
        """A value in its own shape, made of its columns."""
        axes = self.graph.axes[value]
        tensor = self.columns(value, np.arange(axes.width))
        if len(axes.dims) != 1:
            tensor = self.node("Reshape", [tensor, self.ints([-1, *axes.dims])])
        if axes.row:
            perm = [*range(1, axes.row + 1), 0, *range(axes.row + 1, len(axes.one))]
            tensor = self.node("Transpose", [tensor], perm=perm)
        return tensor

    def _kept(self, value: str) -> str:
        """A graph input, or a node's output by the same node as before."""
        node = self.graph.producer.get(value)
        if node is None:
            return value
        key = (node.output[0], "kept")
        if key not in self.done:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.input[:] = [self.plain(name) for name in node.input]
            copied.output[:] = [self._name() if name else "" for name in node.output]
            self._nodes.append(copied)
            for name, made in zip(node.output, copied.output, strict=True):
                self.done[name, "as made"] = made
            self.done[key] = ""
        return self.done[value, "as made"]

    def plain(self, name: str) -> str:
        """An input of a node that is kept."""
        if not name:
            return ""
        if name in self.graph.axes:
            key = (name, "tensor")
            if key not in self.done:
                self.done[key] = self._tensor(name)
            return self.done[key]
        tensor = self.graph.initializer(name)
        if tensor is None:
            return self._kept(name)
        self._initializers[name] = tensor
        return name

    # -- writing ----------------------------------------------------------------------------

    def part(self, matrix: str, start: int, stop: int, width: int) -> str:
        if (start, stop) == (0, width):
            return matrix
        key = (matrix, "part", start, stop)
        if key not in self.done:
            bounds = [self.ints([n]) for n in (start, stop, 1)]
            self.done[key] = self.node("Slice", [matrix, *bounds])
        return self.done[key]

    def copy(self, node: onnx.NodeProto, inputs: Sequence[str]) -> str:
        """The same operator on other inputs."""
        made = self.node(node.op_type, inputs)
        self._nodes[-1].attribute.extend(node.attribute)
        return made

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        made = self._name()
        self._nodes.append(helper.make_node(operator, list(inputs), [made], **attributes))
        return made

    def constant(self, values: NDArray[Any]) -> str:
        name = self._name()
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def ints(self, values: Sequence[int]) -> str:
        key = ("ints", *values)
        if key not in self.done:
            self.done[key] = self.constant(np.array(values, np.int64))
        return self.done[key]

    def _name(self) -> str:
        self._count += 1
        return f"m{self._count}"
