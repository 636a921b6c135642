"""user.onnx, item.onnx, rank.onnx: measured against model.onnx, left out when they differ."""

import numpy as np
import onnx
import pytest

from service.scoring.graphs import CUT, CUT_FILES, WholeGraph
from service.scoring.session import Session
from tests.training.rankers.test_cut import SCHEMA, made, rows
from training import export_cut as export_cut_module
from training.export import export_graph
from training.export_cut import export_cut
from training.grouped import as_groups


@pytest.fixture(scope="module")
def heads():
    return made()


@pytest.fixture(scope="module")
def inputs():
    return {name: block.numpy() for name, block in rows().items()}


@pytest.fixture(scope="module")
def graph(heads, inputs):
    return export_graph(heads, SCHEMA, inputs)


def test_cut_is_exported_beside_the_whole_graph_without_being_asked_for(graph):
    assert graph.cut.says == CUT
    assert tuple(graph.cut.files) == CUT_FILES
    assert graph.cut.parity.max_abs_difference.keys() == {"ctr", "cvr", "ctcvr"}
    assert max(graph.cut.parity.max_abs_difference.values()) <= 1e-5


def test_parts_of_an_item_have_the_same_bits_whatever_they_are_computed_with(graph):
    item = Session(graph.cut.files["item.onnx"])
    inputs = rows()
    blocks = {name: np.resize(inputs[name], (257, inputs[name].shape[1])) for name in item.inputs}
    together = item.run(blocks)["item_part"]
    for first, last in [(0, 1), (3, 5), (7, 24), (100, 257)]:
        alone = item.run({name: block[first:last] for name, block in blocks.items()})["item_part"]
        np.testing.assert_array_equal(alone, together[first:last])


def test_cut_that_differs_is_left_out_with_its_difference(graph, heads, inputs, monkeypatch):
    monkeypatch.setattr(export_cut_module, "TOLERANCE", -1.0)
    whole = WholeGraph(Session(graph.content), SCHEMA, heads.heads)
    cut = export_cut(heads, SCHEMA, whole, inputs)
    assert cut.says.startswith("not cut: heads would differ by ")
    assert not cut.files


def off(model):
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor) * np.float32(1.01)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def torn(model):
    del model.graph.node[0]


def narrow(model):
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2:
            values = onnx.numpy_helper.to_array(tensor)[:-1]
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


@pytest.mark.parametrize("spoil", [off, torn, narrow])
def test_groups_whose_heads_are_not_those_of_the_graph_of_pairs_are_left_out(
    graph, heads, inputs, monkeypatch, spoil
):
    assert graph.cut.grouped != graph.cut.pairs

    def as_wrong_groups(model, *, one_row):
        made = as_groups(model, one_row=one_row)
        spoil(made)
        return made

    monkeypatch.setattr(export_cut_module, "as_groups", as_wrong_groups)
    whole = WholeGraph(Session(graph.content), SCHEMA, heads.heads)
    cut = export_cut(heads, SCHEMA, whole, inputs)
    assert cut.says == CUT
    assert cut.files == graph.cut.files
    assert cut.grouped == cut.pairs == graph.cut.pairs
