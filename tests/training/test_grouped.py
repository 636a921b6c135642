"""as_groups: the same values with the groups of a bank in one product."""

import json
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
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


class Mixed(nn.Module):
    """Gates by rows times a table of experts that is the same for all rows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Parameter(torch.randn(1, 2, 3, 8))

    def forward(self, *inputs):
        (x,) = inputs
        mixed = (x.unflatten(1, (2, 3)).unsqueeze(-1) * self.table).sum(dim=2)
        return (torch.tanh(mixed).flatten(1).sum(dim=1),)


class Added(nn.Module):
    """A row of any shape is added to a product by groups, (rows, 2, 1, 64)."""

    def __init__(self, row):
        super().__init__()
        torch.manual_seed(1)
        self.weight = nn.Parameter(torch.randn(2, 40, 64) / 6)
        self.row = nn.Parameter(torch.randn(row))

    def forward(self, *inputs):
        (x,) = inputs
        made = torch.tanh(x.unflatten(1, (2, 1, 40)) @ self.weight + self.row)
        rows = max(made.ndim - 4, 0)
        return (made.sum(dim=[axis for axis in range(made.ndim) if axis != rows]),)


def grouped_like(module, width):
    """The graph with groups, once its values were found to be those of the exported one."""
    model = to_onnx(module, {"x": ("float32", width)}, ["y"])
    grouped = as_groups(model)
    assert grouped is not model
    x = np.random.default_rng(3).normal(size=(9, width)).astype(np.float32)
    expected, found = (Session(m.SerializeToString()).run({"x": x}) for m in (model, grouped))
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-5, atol=1e-5)
    return grouped


def test_mixture_of_experts_that_are_the_same_for_all_rows_keeps_its_values():
    grouped_like(Mixed(), 6)


@pytest.mark.parametrize(
    ("row", "inside"),
    [
        ((64,), True),
        ((2, 3, 64), False),  # three sums for one product
        ((3, 1, 2, 1, 64), False),  # as well, along an axis that the product lacks
        ((1, 1, 2, 1, 64), True),  # one, with an axis more
    ],
    ids=str,
)
def test_row_goes_into_the_product_where_it_gives_one_sum_for_each_column(row, inside):
    grouped = grouped_like(Added(row), 80)
    made = [node for node in grouped.graph.node if node.op_type == "Conv"]
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in grouped.graph.initializer}
    is_added = [bool(constants[node.input[2]].any()) for node in made]
    assert is_added == [inside]
