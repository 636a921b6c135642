"""as_matrices: the same values without batched products, transposes and copies."""

import json
from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from service.scoring.graphs import CUT_FILES
from service.scoring.session import Session
from tests.training.rankers.test_cut import SCHEMA, made, rows
from training.export import export_graph
from training.grouped import as_groups
from training.matrices import as_matrices
from training.to_onnx import to_onnx

TRUNKS = [
    {"kind": "shared-bottom", "hidden": [16, 8]},
    {"kind": "omoe", "experts": 2, "hidden": [16, 8]},
    {"kind": "mmoe", "experts": 3, "hidden": [16, 8]},
    {"kind": "mmoe", "experts": 3, "hidden": [16, 8], "gate": "attention"},
    {"kind": "mmoe", "experts": 3, "hidden": [16, 8], "gate": "feature-selection"},
    {"kind": "ml-mmoe", "levels": 2, "experts": 2, "hidden": [16, 8]},
    {"kind": "cgc", "own": 1, "shared": 2, "hidden": [16, 8]},
    {"kind": "cgc", "own": 2, "shared": 0, "hidden": [8]},
    {"kind": "ple", "levels": 3, "own": 2, "shared": 1, "hidden": [16, 8]},
    {"kind": "aitm", "hidden": [16, 8]},
    {"kind": "stem", "own": 1, "shared": 1, "hidden": [16, 8]},
    {"kind": "adatt", "levels": 2, "own": 2, "hidden": [16, 8]},
]


@cache
def exported(trunk: str) -> onnx.ModelProto:
    """The graph of a small ranker; `trunk` as JSON."""
    found = json.loads(trunk)
    heads = made(found, linear=found["kind"] != "stem")  # stem refuses a linear term
    blocks = {name: (dtype, width) for name, (_, dtype, width) in SCHEMA.inputs.items()}
    return to_onnx(heads, blocks, list(heads.heads))


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def both(model: onnx.ModelProto, inputs, **options):
    rewritten = as_matrices(model, **options)
    onnx.checker.check_model(rewritten, full_check=True)
    sessions = [Session(one.SerializeToString()) for one in (model, rewritten)]
    return rewritten, *(session.run(inputs) for session in sessions)


@pytest.mark.parametrize("trunk", TRUNKS, ids=lambda t: "-".join(map(str, t.values())))
def test_every_trunk_gives_the_same_heads(trunk):
    model = exported(json.dumps(trunk))
    inputs = {name: block.numpy() for name, block in rows().items()}
    rewritten, expected, found = both(model, inputs)
    assert rewritten is not model
    assert expected.keys() == found.keys()
    for head, values in expected.items():
        np.testing.assert_allclose(found[head], values, rtol=0, atol=1e-6, err_msg=head)


def test_served_graph_of_a_ple_has_no_batched_product_and_moves_nothing_but_slices():
    heads = made({"kind": "ple", "levels": 2, "own": 1, "shared": 2, "hidden": [16, 8]})
    inputs = {name: block.numpy() for name, block in rows().items()}
    rank = onnx.load_from_string(export_graph(heads, SCHEMA, inputs).cut.files[CUT_FILES[2]])
    seen = operators(rank)
    assert not seen.keys() & {"Transpose", "Expand", "Unsqueeze", "ReduceSum"}
    assert seen["Concat"] <= 1  # the cross inputs; experts and gates are never copied together
    ranks = {len(tensor.dims) for tensor in rank.graph.initializer}
    assert ranks <= {0, 1, 2}


def test_rows_have_the_same_bits_in_any_company():
    heads = made({"kind": "ple", "levels": 2, "own": 1, "shared": 2, "hidden": [16, 8]})
    blocks = {name: (dtype, width) for name, (_, dtype, width) in SCHEMA.inputs.items()}
    model = as_matrices(to_onnx(heads, blocks, list(heads.heads)))
    session = Session(model.SerializeToString())
    inputs = {name: np.resize(b.numpy(), (257, b.shape[1])) for name, b in rows().items()}
    together = session.run(inputs)
    for first, last in [(0, 1), (3, 5), (7, 24), (100, 257)]:
        alone = session.run({name: block[first:last] for name, block in inputs.items()})
        for head, values in together.items():
            np.testing.assert_array_equal(alone[head], values[first:last])


class _Odd(nn.Module):
    """Operators in the ways that the rankers do not use them."""

    def forward(self, *inputs):
        (x,) = inputs
        groups = x.unflatten(1, (3, 4))
        across = torch.softmax(groups, dim=1)  # not along the last axis
        pairs = groups @ across.transpose(1, 2)  # a product of two values with rows
        far = groups.flip(1)[:, ::2].repeat(1, 1, 2)
        late = groups.cumsum(dim=1).amax(dim=1)
        spread = groups.mean(dim=2, keepdim=True).expand(-1, -1, 5).sum(dim=1)
        masked = torch.where(groups > 0.2, groups, torch.tensor([1.0, 2.0, 3.0, 4.0]))
        scaled = groups.transpose(0, 1).contiguous() * torch.tensor([[[2.0]], [[3.0]], [[5.0]]])
        return tuple(
            value.flatten(1)
            for value in (across, pairs, far, late, spread, masked, scaled.transpose(0, 1), x)
        )


def test_what_is_no_matrix_operation_is_kept_as_it_is():
    names = ["across", "pairs", "far", "late", "spread", "masked", "scaled", "same"]
    x = np.random.default_rng(1).normal(size=(9, 12)).astype(np.float32)
    model = to_onnx(_Odd(), {"x": ("float32", 12)}, names)
    _, expected, found = both(model, {"x": x})
    assert found.keys() == set(names)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6, err_msg=name)


def test_linear_layers_become_products_and_sums():
    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(12, 6), nn.Linear(6, 4)

        def forward(self, *inputs):
            (x,) = inputs
            return (torch.relu(self.two(self.one(x)[:, 1:4].repeat(1, 2))),)

    x = np.random.default_rng(1).normal(size=(9, 12)).astype(np.float32)
    rewritten, expected, found = both(to_onnx(Layers(), {"x": ("float32", 12)}, ["y"]), {"x": x})
    assert not operators(rewritten).keys() & {"Gemm", "Transpose"}
    np.testing.assert_allclose(found["y"], expected["y"], rtol=0, atol=1e-6)


def test_two_outputs_of_one_value_keep_their_names():
    rows_of = ["rows", 4]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Identity", ["a"], ["b"])],
        "twins",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, rows_of)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, rows_of) for name in "ab"],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4)
    _, expected, found = both(model, {"x": x})
    for name in "ab":
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("rewrite", [as_matrices, as_groups])
def test_graph_with_two_free_axes_is_left_alone(rewrite):
    class Square(nn.Module):
        def forward(self, *inputs):
            (x,) = inputs
            return (x @ x.T).sum(dim=1)

    model = to_onnx(Square(), {"x": ("float32", 4)}, ["y"])
    assert rewrite(model) is model
