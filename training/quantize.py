"""Static int8: large matrix products of an exported graph on 8-bit integers, calibrated on rows.

Scales are constants, so a row's heads do not depend on the rows beside it, which dynamic
quantisation cannot say. Weights get one scale a column and 7 bits: processors without VNNI add two
products in 16 bits, and 8-bit weights would saturate there.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Observe = Callable[[bytes], Iterable[Mapping[str, Array]]]

_SMALLEST = 32  # rows and columns of a weight that is worth it
_WEIGHT_LIMIT = 64
_LEVELS = 255


class NothingToRound(ValueError):
    """A graph without large products."""


def quantize(model: onnx.ModelProto, observe: Observe) -> onnx.ModelProto:
    """The same graph with its large products on integers.

    Args:
        model: in the form of `training.matrices`.
        observe: runs a graph over the calibration rows, batch by batch: output name -> values.

    Raises:
        NothingToRound: no product is large enough to be worth it.
    """
    products = _products(model)
    if not products:
        raise NothingToRound(f"no product has a weight of {_SMALLEST} x {_SMALLEST} or more")
    ranges = _observed(model, [node.input[0] for node in products], observe)
    return _Quantizer(model, products, ranges).write()


def _products(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type == "MatMul"
        and len(shape := shapes.get(node.input[1], ())) == 2
        and min(shape) >= _SMALLEST
    ]


def _observed(
    model: onnx.ModelProto, names: Iterable[str], observe: Observe
) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each tensor; 0 is always among them."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    wanted = dict.fromkeys(names)
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in wanted
    )
    ranges = dict.fromkeys(wanted, (0.0, 0.0))
    for batch in observe(probe.SerializeToString()):
        for name, values in batch.items():
            low, high = ranges[name]
            ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
    return ranges


class _Quantizer:
    """Writes the graph anew, node by node."""

    def __init__(
        self,
        model: onnx.ModelProto,
        products: Iterable[onnx.NodeProto],
        ranges: Mapping[str, tuple[float, float]],
    ) -> None:
        self._model, self._ranges = model, ranges
        self._products = {node.output[0]: node for node in products}
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._producer = {out: node for node in model.graph.node for out in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._outputs = {output.name for output in model.graph.output}
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._quantized: dict[str, tuple[str, NDArray[np.float32]]] = {}

    def write(self) -> onnx.ModelProto:
        fused = {add.output[0] for name in self._products if (add := self._bias(name)) is not None}
        for node in self._model.graph.node:
            name = node.output[0]
            if name in self._products:
                self._write_product(node)
            elif node.op_type == "Relu" and node.input[0] in fused | self._products.keys():
                if not self._is_clipped(node):
                    # What Relu does; ONNX Runtime (1.31.1) takes a Relu for part of a product
                    # whose result is rounded too, and computes a lone one in float32.
                    limits = [node.input[0], self._constant("zero", np.float32(0))]
                    self._nodes.append(helper.make_node("Max", limits, [name]))
            elif name not in fused and not self._is_clipped(node):
                self._nodes.append(node)
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
        model.graph.node.extend(self._nodes)
        read = {name for node in self._nodes for name in node.input}
        kept = (tensor for name, tensor in self._constants.items() if name in read)
        model.graph.initializer.extend((*kept, *self._initializers.values()))
        return model

    def _write_product(self, node: onnx.NodeProto) -> None:
        source, scale = self._integers(node.input[0])
        weight = numpy_helper.to_array(self._constants[node.input[1]])
        scales = np.maximum(np.abs(weight).max(axis=0), 1e-12).astype(np.float32) / _WEIGHT_LIMIT
        name = f"{node.output[0]} weight"
        whole = np.rint(weight / scales).astype(np.int8)
        inputs = [source, self._dequantized(name, whole, scales)]
        out, add = node.output[0], self._bias(node.output[0])
        if add is not None:
            out = add.output[0]
            bias = numpy_helper.to_array(self._constants[add.input[1]]).reshape(-1)
            both = scales * scale
            whole = np.rint(np.broadcast_to(bias, scales.shape) / both).astype(np.int32)
            inputs.append(self._dequantized(f"{node.output[0]} bias", whole, both))
        self._nodes.append(helper.make_node("Gemm", inputs, [out]))

    def _integers(self, name: str) -> tuple[str, NDArray[np.float32]]:
        """A tensor rounded to 8 bits and widened again, and its scale."""
        if name not in self._quantized:
            low, high = self._ranges[name]
            scale = np.float32(max(high - low, 1e-12) / _LEVELS)
            zero = np.uint8(np.clip(np.rint(-low / scale), 0, _LEVELS))
            node = self._producer.get(name)
            clipped = node is not None and self._is_clipped(node)
            parameters = [
                self._constant(f"{name} scale", scale),
                self._constant(f"{name} zero", zero),
            ]
            source = node.input[0] if clipped else name
            names = f"{name} u8", f"{name} rounded"
            self._nodes += [
                helper.make_node("QuantizeLinear", [source, *parameters], [names[0]]),
                helper.make_node("DequantizeLinear", [names[0], *parameters], [names[1]]),
            ]
            self._quantized[name] = names[1], scale
        return self._quantized[name]

    def _is_clipped(self, node: onnx.NodeProto) -> bool:
        """Whether rounding to [0, high] does what a Relu does, and nobody else reads it."""
        name = node.output[0]
        return (
            node.op_type == "Relu"
            and name not in self._outputs
            and all(reader.output[0] in self._products for reader in self._readers[name])
        )

    def _bias(self, product: str) -> onnx.NodeProto | None:
        """The Add of a constant row that alone reads a product."""
        readers = self._readers.get(product, [])
        if len(readers) != 1 or product in self._outputs or readers[0].op_type != "Add":
            return None
        (add,) = readers
        tensor = self._constants.get(add.input[1])
        if add.input[0] != product or tensor is None or len(tensor.dims) > 1:
            return None
        return add

    def _dequantized(self, name: str, whole: Array, scales: NDArray[np.float32]) -> str:
        zeros = np.zeros(scales.shape, whole.dtype)
        inputs = [
            self._constant(name, whole),
            self._constant(f"{name} scale", scales),
            self._constant(f"{name} zero", zeros),
        ]
        out = f"{name} rounded"
        axis = whole.ndim - 1
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [out], axis=axis))
        return out

    def _constant(self, name: str, values: Any) -> str:
        self._initializers[name] = numpy_helper.from_array(np.asarray(values), name)
        return name
