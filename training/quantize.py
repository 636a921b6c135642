"""Static int8: large matrix products of an exported graph on 8-bit integers, calibrated on rows.

Scales are constants, so a row's heads do not depend on the rows beside it, which dynamic
quantisation cannot say. Weights get one scale a column and 7 bits: processors without VNNI add two
products in 16 bits, and 8-bit weights would saturate there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training.rounding import Range, Rounding, Step, moved

Array = NDArray[Any]
Observe = Callable[[bytes], Iterable[Mapping[str, Array]]]

_SMALLEST = 32 * 32  # numbers of a weight that is worth it
_WEIGHT_LIMIT = 64
_BIAS_LIMIT = 2.0**30  # steps of a bias: of 32 bits, and the products' sum is added to it


class NothingToRound(ValueError):
    """A graph without large products."""


def quantize(model: onnx.ModelProto, observe: Observe) -> onnx.ModelProto:
    """The same graph with its large products on integers.

    Args:
        model: in the form of `training.matrices` or `training.grouped`.
        observe: runs a graph over the calibration rows, batch by batch: output name -> values.

    Raises:
        NothingToRound: no product is large enough to be worth it.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    products = {n.output[0]: n for n in model.graph.node if _is_product(n, constants)}
    if not any(node.input[1] in constants for node in products.values()):
        raise NothingToRound(f"no product has a weight of {_SMALLEST} numbers or more")
    return _Quantizer(model, products, observe).write()


def _is_product(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    if node.op_type not in ("Conv", "MatMul"):
        return False
    if not constants.keys() & set(node.input[:2]):
        return True
    weight = constants.get(node.input[1])
    return weight is not None and _is_large(node, weight.dims)


def _is_large(node: onnx.NodeProto, dims: Sequence[int]) -> bool:
    return prod(dims) >= _SMALLEST and (node.op_type == "Conv" or len(dims) == 2)


def probe(model: onnx.ModelProto, names: Iterable[str]) -> bytes:
    """The graph that gives these tensors."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.output[:]
    made.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in dict.fromkeys(names)
    )
    return made.SerializeToString()


def _observed(model: onnx.ModelProto, names: Iterable[str], observe: Observe) -> dict[str, Range]:
    """Smallest and largest value of each tensor; 0 is always among them."""
    ranges = dict.fromkeys(names, (0.0, 0.0))
    for batch in observe(probe(model, ranges)):
        for name, values in batch.items():
            low, high = ranges[name]
            ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
    return ranges


class _Quantizer:
    """Writes the graph anew, node by node."""

    def __init__(
        self,
        model: onnx.ModelProto,
        products: Mapping[str, onnx.NodeProto],
        observe: Observe,
    ) -> None:
        self._model, self._products = model, products
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._producer = {out: node for node in model.graph.node for out in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._outputs = {output.name for output in model.graph.output}
        self._read = {
            name: [i for i in node.input[:2] if i not in self._constants]
            for name, node in products.items()
        }
        # ONNX Runtime (1.31.1) has no convolution that takes 8 bits and gives floats.
        self._whole = {
            name
            for name, node in products.items()
            if node.op_type == "Conv" and not self._is_rounded(name)
        }
        read = (name for names in self._read.values() for name in names)
        self._ranges = _observed(model, (*read, *self._whole), observe)
        ranges = {n: self._ranges[n] for names in self._read.values() for n in names}
        self._rounding = Rounding(self._producer, ranges, self._whole)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._done: dict[str, str] = {}

    def write(self) -> onnx.ModelProto:
        adds = {name: add for name in self._products if (add := self._bias(name)) is not None}
        fused = {add.output[0] for add in adds.values()}
        for node in self._model.graph.node:
            name = node.output[0]
            if name in self._products:
                self._write_product(node, adds.get(name))
            elif node.op_type == "Relu" and node.input[0] in fused | self._products.keys():
                # What Relu does; ONNX Runtime (1.31.1) takes a Relu for part of a product
                # whose result is rounded too, and computes a lone one in float32.
                limits = [node.input[0], self._constant("zero", np.float32(0))]
                self._nodes.append(helper.make_node("Max", limits, [name]))
            elif name not in fused:
                self._nodes.append(node)
        return self._pruned()

    def _pruned(self) -> onnx.ModelProto:
        """Without what is only read in 8 bits now."""
        nodes: list[onnx.NodeProto] = []
        read = set(self._outputs)
        for node in reversed(self._nodes):
            if read.intersection(node.output):
                nodes.append(node)
                read.update(node.input)
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
        model.graph.node.extend(reversed(nodes))
        tensors = {**self._constants, **self._initializers}
        model.graph.initializer.extend(t for name, t in tensors.items() if name in read)
        return model

    def _write_product(self, node: onnx.NodeProto, add: onnx.NodeProto | None) -> None:
        name = node.output[0]
        inputs = [self._widened(source) for source in self._read[name]]
        if len(inputs) == 2:
            self._nodes.append(helper.make_node("MatMul", inputs, [name]))
            return
        scale = self._rounding.step(self._read[name][0]).scale
        weight = numpy_helper.to_array(self._constants[node.input[1]])
        along = tuple(range(weight.ndim)[1:]) if node.op_type == "Conv" else 0
        limits = np.maximum(np.abs(weight).max(axis=along, keepdims=True), 1e-12)
        steps = limits.astype(np.float32) / _WEIGHT_LIMIT
        row = node.input[2] if len(node.input) > 2 else None if add is None else add.input[1]
        bias = None
        if row is not None:
            bias = numpy_helper.to_array(self._constants[row]).reshape(-1)
            bias = np.broadcast_to(bias, steps.size)
            # A bias has the step of the products. Beside values that hardly vary (a dead Relu, a
            # feature that is nearly always 0) or weights of 0, it would not fit into 32 bits.
            least = np.abs(bias) / (_BIAS_LIMIT * float(scale))
            steps = np.maximum(steps, least.astype(np.float32).reshape(steps.shape))
        axis = 0 if node.op_type == "Conv" else 1
        whole = np.rint(weight / steps).astype(np.int8)
        steps = steps.reshape(-1)
        inputs.append(self._dequantized(f"{name} weight", whole, steps, axis))
        if bias is not None:
            both = steps * scale
            whole = np.rint(bias / both).astype(np.int32)
            inputs.append(self._dequantized(f"{name} bias", whole, both, 0))
        if node.op_type != "Conv":
            out = name if add is None else add.output[0]
            self._nodes.append(helper.make_node("Gemm", inputs, [out]))
            return
        out = f"{name} exact" if name in self._whole else name
        made = helper.make_node("Conv", inputs, [out])
        made.attribute.extend(node.attribute)
        self._nodes.append(made)
        if name in self._whole:
            step = Step.over(*self._ranges[name])
            self._dequantize(self._quantize(out, step), step, name)

    def _widened(self, name: str) -> str:
        """A value that a product reads, rounded to 8 bits and widened again."""
        key = f"{name} rounded"
        if key not in self._done:
            step = self._rounding.step(name)
            self._done[key] = self._dequantize(self._rounded(name), step, key)
        return self._done[key]

    def _rounded(self, name: str) -> str:
        """A value in 8 bits, moved about after it was rounded."""
        if name not in self._done:
            if name in self._rounding.steps:
                self._done[name] = self._quantize(name, self._rounding.steps[name])
            else:
                node = self._producer[name]
                near = [self._rounded(one) for one in moved(node)]
                self._done[name] = near[0]
                if node.op_type != "Relu":
                    copied = onnx.NodeProto()
                    copied.CopyFrom(node)
                    copied.input[: len(near)] = near
                    copied.output[:] = [f"{name} u8"]
                    self._nodes.append(copied)
                    self._done[name] = f"{name} u8"
        return self._done[name]

    def _quantize(self, name: str, step: Step) -> str:
        out = f"{name} u8"
        self._nodes.append(helper.make_node("QuantizeLinear", [name, *self._of(step)], [out]))
        return out

    def _dequantize(self, name: str, step: Step, out: str) -> str:
        self._nodes.append(helper.make_node("DequantizeLinear", [name, *self._of(step)], [out]))
        return out

    def _of(self, step: Step) -> list[str]:
        scale, zero = f"scale {step.scale!r}", f"zero {step.zero}"
        return [self._constant(scale, step.scale), self._constant(zero, step.zero)]

    def _is_rounded(self, name: str) -> bool:
        """Whether products alone read a value, wherever it is moved."""
        if name in self._outputs:
            return False
        return all(
            name in self._read.get(reader.output[0], ())
            or (bool(moved(reader)) and self._is_rounded(reader.output[0]))
            for reader in self._readers[name]
        )

    def _bias(self, product: str) -> onnx.NodeProto | None:
        """The Add of a constant row that alone reads a product of a matrix."""
        readers = self._readers.get(product, [])
        if len(readers) != 1 or product in self._outputs or readers[0].op_type != "Add":
            return None
        (add,) = readers
        tensor = self._constants.get(add.input[1])
        plain = self._products[product].op_type == "MatMul" and len(self._read[product]) == 1
        if not plain or add.input[0] != product or tensor is None or len(tensor.dims) > 1:
            return None
        return add

    def _dequantized(self, name: str, whole: Array, steps: NDArray[np.float32], axis: int) -> str:
        zeros = np.zeros(steps.shape, whole.dtype)
        inputs = [
            self._constant(name, whole),
            self._constant(f"{name} scale", steps),
            self._constant(f"{name} zero", zeros),
        ]
        out = f"{name} rounded"
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [out], axis=axis))
        return out

    def _constant(self, name: str, values: Any) -> str:
        self._initializers[name] = numpy_helper.from_array(np.asarray(values), name)
        return name
