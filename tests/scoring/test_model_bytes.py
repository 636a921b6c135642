"""What a graph would load besides itself is found from its bytes alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.errors import PackageError
from service.scoring.model_bytes import refuse_foreign_parts
from tests.scoring.graphs import tiny_graph

onnx = pytest.importorskip("onnx")
helper = onnx.helper


def refusal(model: Any) -> str:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(PackageError) as caught:
        refuse_foreign_parts(content, "m.onnx")
    return str(caught.value)


def external(name: str) -> Any:
    tensor = onnx.numpy_helper.from_array(np.zeros(2, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def test_self_contained_graph_passes() -> None:
    refuse_foreign_parts(tiny_graph().SerializeToString(), "m.onnx")


def test_external_weight_is_refused_by_name() -> None:
    model = tiny_graph()
    model.graph.initializer.append(external("table"))
    assert refusal(model) == (
        "m.onnx: tensor 'table' keeps its data in another file (1 such tensors);"
        " export one file without external data"
    )


def test_external_data_without_the_location_flag_is_refused() -> None:
    model = tiny_graph()
    tensor = external("sly")
    tensor.data_location = onnx.TensorProto.DEFAULT
    model.graph.initializer.append(tensor)
    assert "tensor 'sly' keeps its data in another file" in refusal(model)


def hidden_in_attribute(tensor: Any) -> Any:
    return helper.make_node("Constant", [], ["c"], value=tensor)


def hidden_in_subgraph(tensor: Any) -> Any:
    branch = helper.make_graph([hidden_in_attribute(tensor)], "branch", [], [])
    return helper.make_node("If", ["ctr"], ["out"], then_branch=branch, else_branch=branch)


def hidden_in_sparse(tensor: Any) -> Any:
    sparse = onnx.SparseTensorProto(values=tensor, dims=[2])
    return helper.make_node("Constant", [], ["c"], sparse_value=sparse)


@pytest.mark.parametrize("hide", [hidden_in_attribute, hidden_in_subgraph, hidden_in_sparse])
def test_external_data_is_found_wherever_a_tensor_can_be(hide: Any) -> None:
    model = tiny_graph()
    model.graph.node.append(hide(external("deep")))
    assert "tensor 'deep' keeps its data in another file" in refusal(model)


def test_external_data_inside_a_function_is_found() -> None:
    model = tiny_graph()
    node = hidden_in_attribute(external("deep"))
    function = helper.make_function("own", "f", [], ["c"], [node], model.opset_import)
    model.functions.append(function)
    assert "tensor 'deep'" in refusal(model)


def test_custom_operator_is_refused_by_domain() -> None:
    model = tiny_graph()
    model.graph.node.append(helper.make_node("Run", ["ctr"], ["x"], domain="com.evil"))
    assert refusal(model) == (
        "m.onnx: uses operators of domain 'com.evil'; only standard ONNX operators are served"
    )


def test_custom_operator_in_a_subgraph_is_found() -> None:
    model = tiny_graph()
    node = helper.make_node("Run", ["ctr"], ["x"], domain="com.evil")
    branch = helper.make_graph([node], "branch", [], [])
    model.graph.node.append(helper.make_node("If", ["ctr"], ["y"], then_branch=branch))
    assert "domain 'com.evil'" in refusal(model)


def test_function_that_the_file_defines_itself_passes() -> None:
    model = tiny_graph()
    node = helper.make_node("Relu", ["x"], ["y"])
    model.functions.append(
        helper.make_function("own", "f", ["x"], ["y"], [node], model.opset_import)
    )
    model.graph.node.append(helper.make_node("f", ["ctr"], ["z"], domain="own"))
    refuse_foreign_parts(model.SerializeToString(), "m.onnx")


def test_truncated_graph_is_refused() -> None:
    content = tiny_graph().SerializeToString()
    assert refusal(content[:-100]).startswith("m.onnx: no ONNX file, or a truncated one (")


def test_empty_file_is_refused() -> None:
    assert refusal(b"") == "m.onnx: no ONNX file: it holds no graph"


def test_endless_nesting_is_refused() -> None:
    graph = b""
    for _ in range(200):
        attribute = b"\x32" + varint(len(graph)) + graph  # attribute.g
        node = b"\x2a" + varint(len(attribute)) + attribute  # node.attribute
        graph = b"\x0a" + varint(len(node)) + node  # graph.node
    model = b"\x3a" + varint(len(graph)) + graph
    assert "messages nested deeper than 64" in refusal(model)


def varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


@given(st.binary(max_size=200))
def test_any_bytes_are_accepted_or_refused_with_a_sentence(content: bytes) -> None:
    try:
        refuse_foreign_parts(content, "m.onnx")
    except PackageError as err:
        assert str(err).startswith("m.onnx: ")  # noqa: PT017 - both outcomes are right
