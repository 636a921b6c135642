"""Parts of items in 8 bits: `item.onnx` rounds what it gives, and `rank.onnx` begins with that.

A cached item takes a quarter of the memory, and so does what a request gathers. ONNX Runtime then
adds the user's part and rounds the sum in one pass over bytes. One step holds for all columns, so
each is moved first to where 0 is in its middle; the user's part is moved back.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from service.scoring.graphs import ITEM_PART, USER_PART
from training.quantize import Array, Observe, probe
from training.rounding import Step

_EXACT, _MOVED = f"{ITEM_PART} exact", f"{ITEM_PART} moved"
_MIDDLE = f"{ITEM_PART} middle"


def in_bytes(
    item: onnx.ModelProto, rank: onnx.ModelProto, observe: Observe
) -> tuple[onnx.ModelProto, onnx.ModelProto] | None:
    """item.onnx that gives bytes, and rank.onnx that takes them.

    Args:
        item: it gives floats.
        rank: as `training.quantize` gave it.
        observe: runs a graph over calibration rows, each with the part of its own user.

    Returns:
        None, where the sum of the parts is not what is rounded: widening bytes costs more than it
        saves.
    """
    model = onnx.ModelProto()
    model.CopyFrom(rank)
    total = _item_last(model)
    if total is None or not any(map(_rounds, _readers(model, total.output[0]))):
        return None
    low, high = _columns_between(for_many_users(model), total.input, observe)
    middle = (low[ITEM_PART] + high[ITEM_PART]) / 2
    _put(model, middle)
    by = {name: -middle if name == ITEM_PART else middle for name in total.input}
    steps = {
        name: Step.over(min((low[name] + by[name]).min(), 0), max((high[name] + by[name]).max(), 0))
        for name in total.input
    }
    return _giving_bytes(item, middle, steps[ITEM_PART]), _taking_bytes(model, total, steps)


def for_many_users(rank: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph for rows that come each with the part of its own user."""
    model = onnx.ModelProto()
    model.CopyFrom(rank)
    rows = _input(rank, ITEM_PART).shape.dim[0]
    _input(model, USER_PART).shape.dim[0].CopyFrom(rows)
    return model


def _columns_between(
    model: onnx.ModelProto, names: Iterable[str], observe: Observe
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Each column's smallest and largest value."""
    low: dict[str, Array] = {}
    high: dict[str, Array] = {}
    for batch in observe(probe(model, names)):
        for name, values in batch.items():
            low[name] = np.minimum(low.get(name, np.inf), values.min(axis=0))
            high[name] = np.maximum(high.get(name, -np.inf), values.max(axis=0))
    return low, high


def _put(model: onnx.ModelProto, middle: Array) -> None:
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == _MIDDLE)
    tensor.CopyFrom(numpy_helper.from_array(middle.astype(np.float32), _MIDDLE))


def _item_last(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """The Add of the item's part to all else; what pairs add comes to the user's part first.

    With all else are the middles of the item's columns, 0 until they are known.
    """
    sums = [node for node in model.graph.node if node.op_type == "Add"]
    first = next((node for node in sums if {*node.input} == {ITEM_PART, USER_PART}), None)
    if first is None:
        return None
    width = _input(model, USER_PART).shape.dim[1].dim_value
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(width, np.float32), _MIDDLE))
    all_else, last = f"{USER_PART} and middle", first
    new = [helper.make_node("Add", [USER_PART, _MIDDLE], [all_else])]
    readers = _readers(model, first.output[0])
    if len(readers) == 1 and readers[0] in sums:
        last = readers[0]
        (pairs,) = {*last.input} - {*first.output}
        new.append(helper.make_node("Add", [pairs, all_else], [f"{USER_PART} and pairs"]))
        all_else = new[-1].output[0]
    new.append(helper.make_node("Add", [ITEM_PART, all_else], last.output))
    nodes = list(model.graph.node)
    at = nodes.index(last)
    nodes[at : at + 1] = new
    del model.graph.node[:]
    model.graph.node.extend(node for node in nodes if node != first)
    return new[-1]


def _giving_bytes(item: onnx.ModelProto, middle: Array, step: Step) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(item)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [_EXACT if name == ITEM_PART else name for name in names]
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    model.graph.initializer.extend(_constants(ITEM_PART, step))
    model.graph.initializer.append(numpy_helper.from_array(middle.astype(np.float32), _MIDDLE))
    model.graph.node.append(helper.make_node("Sub", [_EXACT, _MIDDLE], [_MOVED]))
    inputs = [_MOVED, *_names(ITEM_PART)]
    model.graph.node.append(helper.make_node("QuantizeLinear", inputs, [ITEM_PART]))
    return model


def _taking_bytes(
    model: onnx.ModelProto, total: onnx.NodeProto, steps: dict[str, Step]
) -> onnx.ModelProto:
    (all_else,) = steps.keys() - {ITEM_PART}
    wide, rounded = f"{ITEM_PART} widened", f"{all_else} rounded"
    readers = _readers(model, total.output[0])
    taken = onnx.ModelProto()
    taken.CopyFrom(model)
    del taken.graph.node[:]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node == total:
            whole = f"{all_else} u8"
            begin = [
                ("DequantizeLinear", [ITEM_PART, *_names(ITEM_PART)], [wide]),
                ("QuantizeLinear", [all_else, *_names(all_else)], [whole]),
                ("DequantizeLinear", [whole, *_names(all_else)], [rounded]),
            ]
            taken.graph.node.extend(helper.make_node(*one) for one in begin)
            if not all(_rounds(one) or _takes_columns(one, constants) for one in readers):
                taken.graph.node.append(helper.make_node("Add", [wide, all_else], total.output))
        elif node in readers and _rounds(node):
            # Each a sum of its own: ONNX Runtime (1.31.1) adds bytes only for what rounds the sum.
            name = f"{node.output[0]} sum"
            taken.graph.node.append(helper.make_node("Add", [wide, rounded], [name]))
            taken.graph.node.append(
                helper.make_node("QuantizeLinear", [name, *node.input[1:]], node.output)
            )
        elif node in readers and _takes_columns(node, constants):
            taken.graph.node.extend(_columns(node, all_else))
        else:
            taken.graph.node.append(node)
    for name, step in steps.items():
        taken.graph.initializer.extend(_constants(name, step))
    _input(taken, ITEM_PART).elem_type = TensorProto.UINT8
    return taken


def _columns(node: onnx.NodeProto, all_else: str) -> Iterator[onnx.NodeProto]:
    """Columns of the sum that are not rounded, a gate's: their bytes alone are widened."""
    (out,) = node.output
    few = {name: f"{out} of {name}" for name in (ITEM_PART, all_else)}
    for name, cut in few.items():
        yield helper.make_node("Slice", [name, *node.input[1:]], [cut])
    wide = f"{few[ITEM_PART]} widened"
    yield helper.make_node("DequantizeLinear", [few[ITEM_PART], *_names(ITEM_PART)], [wide])
    yield helper.make_node("Add", [wide, few[all_else]], [out])


def _takes_columns(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    axes = constants.get(node.input[3]) if node.op_type == "Slice" else None
    return axes is not None and numpy_helper.to_array(axes).tolist() == [1]


def _rounds(node: onnx.NodeProto) -> bool:
    return bool(node.op_type == "QuantizeLinear")


def _readers(model: onnx.ModelProto, name: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if name in node.input]


def _input(model: onnx.ModelProto, name: str) -> onnx.TypeProto.Tensor:
    (found,) = (tensor for tensor in model.graph.input if tensor.name == name)
    return found.type.tensor_type


def _names(part: str) -> list[str]:
    return [f"{part} scale", f"{part} zero"]


def _constants(part: str, step: Step) -> list[onnx.TensorProto]:
    values = (np.asarray(step.scale), np.asarray(step.zero))
    return [
        numpy_helper.from_array(value, name)
        for value, name in zip(values, _names(part), strict=True)
    ]
