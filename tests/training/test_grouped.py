"""as_groups: the same values with the groups of a bank in one product."""

import json
from collections import Counter

import numpy as np
import onnx
import pytest
from torch import nn

from service.scoring.session import Session
from tests.training.rankers.test_cut import rows
from tests.training.test_matrices import TRUNKS, exported
from training.grouped import as_groups
from training.to_onnx import to_onnx

WIDE = {"kind": "ple", "levels": 2, "own": 1, "shared": 2, "hidden": [64, 48]}


@pytest.fixture(scope="module")
def inputs():
    return {name: block.numpy() for name, block in rows().items()}


@pytest.fixture(scope="module")
def wide():
    return as_groups(exported(json.dumps(WIDE)))


@pytest.mark.parametrize("trunk", [*TRUNKS, WIDE], ids=json.dumps)
def test_every_trunk_gives_the_same_heads(trunk, inputs):
    model = exported(json.dumps(trunk))
    grouped = as_groups(model)
    assert grouped is not model
    onnx.checker.check_model(grouped, full_check=True)
    expected, found = (Session(m.SerializeToString()).run(inputs) for m in (model, grouped))
    assert expected.keys() == found.keys()
    for head, values in expected.items():
        np.testing.assert_allclose(found[head], values, rtol=0, atol=1e-6, err_msg=head)


def test_layers_of_a_bank_are_one_convolution_each(wide):
    groups = [
        attribute.i
        for node in wide.graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "group"
    ]
    # Own and shared: level 1's second layers; level 2's first ones, but those of the shared experts
    # read one input and are a plain product, and its second ones.
    assert groups == [2, 2, 2, 2, 2]


def test_a_pool_that_two_gates_mix_is_held_once(wide):
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in wide.graph.initializer}
    products = [node for node in wide.graph.node if node.op_type == "MatMul"]
    pools = Counter(node.input[1] for node in products if node.input[1] not in constants)
    assert sorted(pools.values()) == [1, 2]  # level 1: the tasks' gates and the shared one
    shapes = {n.output[0]: n.input[1] for n in wide.graph.node if n.op_type == "Reshape"}
    for pool in pools:
        assert constants[shapes[pool]].tolist() == [-1, 4, 48]  # two own experts, two shared ones


def test_graph_with_two_free_axes_is_left_alone():

    class Square(nn.Module):
        def forward(self, *inputs):
            (x,) = inputs
            return (x @ x.T).sum(dim=1)

    model = to_onnx(Square(), {"x": ("float32", 4)}, ["y"])
    assert as_groups(model) is model
