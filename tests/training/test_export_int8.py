"""The int8 variant: published with its cost, or refused with the reason."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from service.scoring.graphs import CutGraphs, WholeGraph
from tests.training.rankers.test_cut import SCHEMA, made
from training.export import export_graph, run_heads
from training.export_int8 import Judged, export_int8
from training.int8_cost import Limits
from training.matrices import as_matrices

TRUNK = {"kind": "ple", "levels": 2, "own": 1, "shared": 1, "hidden": [64, 32]}
WIDE = Limits(auc_loss=1.0, top10_overlap=0.0, calibration=0.05)
ROWS = 700


@pytest.fixture(scope="module")
def heads():
    found = made(TRUNK)
    with torch.no_grad():
        for parameter in found.ranker.parameters():
            parameter.mul_(0.3)
    return found


@pytest.fixture(scope="module")
def judged(heads):
    draw = np.random.default_rng(2)
    inputs = {}
    for name, (_, dtype, width) in SCHEMA.inputs.items():
        high = {"user_ids": 4, "item_ids": 5}.get(name, 1)
        ids, values = draw.integers(0, high, (ROWS, width)), draw.exponential(2, (ROWS, width))
        inputs[name] = (ids if dtype == "int32" else values).astype(dtype)
    chances = run_heads(heads, inputs)["ctr"]
    ctr = np.where(draw.random(ROWS) < 0.1, np.nan, draw.random(ROWS) < chances)
    return Judged(inputs, {"ctr": ctr.astype(np.float32)})


@pytest.fixture(scope="module")
def graph(heads, judged):
    return export_graph(heads, SCHEMA, judged.inputs)


def test_variant_replaces_the_graph_of_pairs_and_says_its_cost(graph, heads, judged):
    int8 = export_int8(graph, heads.heads, SCHEMA, judged, WIDE)
    assert int8.files == {"item.onnx": "item.int8.onnx", "rank.onnx": "rank.int8.onnx"}
    assert isinstance(int8.graphs, CutGraphs)
    variant = int8.variant
    assert not variant.refused
    assert variant.auc_loss.keys() == {"ctr"}
    assert abs(variant.auc_loss["ctr"]) < 0.02
    assert variant.top10_overlap.keys() == {"ctr", "cvr", "ctcvr"}
    assert 0.5 < min(variant.top10_overlap.values()) <= 1
    assert variant.calibration.keys() == {"ctr", "cvr", "ctcvr"}
    assert 0 < max(map(abs, variant.calibration.values())) < variant.calibration_limit == 0.05
    assert 0 < max(variant.max_abs_difference.values()) < 0.05
    assert (variant.rows, variant.lists) == (ROWS, 100)


def test_ranker_that_is_served_whole_is_rounded_whole(graph, heads, judged):
    content = as_matrices(onnx.load_model_from_string(graph.content)).SerializeToString()
    whole = replace(
        graph, content=content, cut=replace(graph.cut, files={}, says="not cut: for this test")
    )
    int8 = export_int8(whole, heads.heads, SCHEMA, judged, WIDE)
    assert int8.files == {"model.onnx": "model.int8.onnx"}
    assert isinstance(int8.graphs, WholeGraph)


def test_variant_that_costs_too_much_has_no_file_but_its_reasons(graph, heads, judged, tmp_path):
    int8 = export_int8(graph, heads.heads, SCHEMA, judged, Limits(-1.0, 1.01, -1.0))
    assert not int8.contents
    assert "AUC of ctr falls by " in int8.variant.refused
    assert "more than -1; " in int8.variant.refused
    assert "the ten best by ctcvr overlap by " in int8.variant.refused
    assert "; the mean of ctcvr moves by " in int8.variant.refused
    assert int8.variant.refused.endswith("%, more than -100.00%")
    written = int8.write(tmp_path, judged.inputs)
    assert not list(tmp_path.iterdir())
    assert written == int8.variant
    assert not written.files


def test_graph_without_large_products_is_refused(heads, judged):
    small = made()
    graph = export_graph(small, SCHEMA, judged.inputs)
    int8 = export_int8(graph, small.heads, SCHEMA, judged)
    assert int8.variant.refused == "no product has a weight of 1024 numbers or more"
    assert not int8.contents


def test_head_without_labels_has_no_auc_to_lose(graph, heads, judged):
    label = np.full(ROWS, np.nan, np.float32)
    int8 = export_int8(graph, heads.heads, SCHEMA, replace(judged, labels={"ctr": label}), WIDE)
    assert int8.variant.auc_loss == {}


def test_golden_heads_are_those_of_the_variant(graph, heads, judged, tmp_path):
    int8 = export_int8(graph, heads.heads, SCHEMA, judged, WIDE)
    few = {name: block[:5] for name, block in judged.inputs.items()}
    written = int8.write(tmp_path, few)
    assert written.files == int8.files
    assert {file.name for file in tmp_path.iterdir()} == {*int8.files.values(), written.golden}
    with np.load(tmp_path / written.golden) as golden:
        assert set(golden.files) == {"head:ctr", "head:cvr", "head:ctcvr"}
        exact = run_heads(heads, few)["ctr"]
        assert 0 < np.abs(golden["head:ctr"] - exact).max() < 0.05


def test_groups_that_cost_too_much_are_rounded_one_by_one(graph, heads, judged):
    spoilt = onnx.load_model_from_string(graph.cut.grouped)
    for tensor in spoilt.graph.initializer:
        if len(tensor.dims) >= 2:
            values = onnx.numpy_helper.to_array(tensor)[::-1].copy()
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    wrong = replace(graph, cut=replace(graph.cut, grouped=spoilt.SerializeToString()))
    none = replace(graph, cut=replace(graph.cut, grouped=graph.cut.pairs))
    limits = Limits(1.0, 0.5)
    found, expected = (export_int8(g, heads.heads, SCHEMA, judged, limits) for g in (wrong, none))
    assert not found.variant.refused
    assert found.contents == expected.contents


def test_heads_of_half_the_size_are_not_accepted_for_their_order(graph, heads, judged):
    halved = onnx.load_model_from_string(graph.cut.grouped)
    for node in halved.graph.node:
        for names in (node.input, node.output):
            names[:] = ["twice" if name == "cvr" else name for name in names]
    half = onnx.numpy_helper.from_array(np.array(0.5, np.float32), "half")
    halved.graph.initializer.append(half)
    halved.graph.node.append(onnx.helper.make_node("Mul", ["twice", "half"], ["cvr"]))
    wrong = replace(graph, cut=replace(graph.cut, grouped=halved.SerializeToString()))
    none = replace(graph, cut=replace(graph.cut, grouped=graph.cut.pairs))
    found, expected = (export_int8(g, heads.heads, SCHEMA, judged, WIDE) for g in (wrong, none))
    assert not found.variant.refused
    assert found.contents == expected.contents


def test_groups_with_nothing_to_round_are_rounded_one_by_one(graph, heads, judged):
    small = export_graph(made(), SCHEMA, judged.inputs).cut.grouped
    bare = replace(graph, cut=replace(graph.cut, grouped=small))
    none = replace(graph, cut=replace(graph.cut, grouped=graph.cut.pairs))
    found, expected = (export_int8(g, heads.heads, SCHEMA, judged, WIDE) for g in (bare, none))
    assert not found.variant.refused
    assert found.contents == expected.contents


def test_what_groups_cost_is_said_where_nothing_else_can_be_rounded(graph, heads, judged):
    computed = onnx.load_model_from_string(graph.cut.pairs)
    for tensor in computed.graph.initializer:
        if len(tensor.dims) >= 2:
            copy = onnx.helper.make_node("Identity", [f"{tensor.name}_kept"], [tensor.name])
            tensor.name = copy.input[0]
            computed.graph.node.insert(0, copy)
    bare = replace(graph, cut=replace(graph.cut, pairs=computed.SerializeToString()))
    only = replace(graph, cut=replace(bare.cut, grouped=bare.cut.pairs))
    costs, nothing = (
        export_int8(g, heads.heads, SCHEMA, judged, Limits(-1.0, 1.01, -1.0)) for g in (bare, only)
    )
    assert costs.variant.refused.startswith("AUC of ctr falls by ")
    assert nothing.variant.refused == "no product has a weight of 1024 numbers or more"
    assert not costs.contents


def with_parts(graph, **changes):
    """`user`, `item`: an operator and the row by which it changes the part of that side."""
    files = dict(graph.cut.files)
    for side, (operator, row) in changes.items():
        model = onnx.load_model_from_string(files[f"{side}.onnx"])
        part = f"{side}_part"
        for node in model.graph.node:
            node.output[:] = ["near" if name == part else name for name in node.output]
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(row), "row"))
        model.graph.node.append(onnx.helper.make_node(operator, ["near", "row"], [part]))
        files[f"{side}.onnx"] = model.SerializeToString()
    return replace(graph, cut=replace(graph.cut, files=files))


def test_parts_that_bytes_cannot_hold_stay_floats(graph, heads, judged):
    # A column differs by thousands between items, but what reads it is cut off at 0.
    item = onnx.load_model_from_string(graph.cut.files["item.onnx"])
    first = np.eye(1, item.graph.output[0].type.tensor_type.shape.dim[1].dim_value)[0]
    far = with_parts(graph, user=("Add", -1e6 * first), item=("Mul", 1 + 1e4 * first))
    int8 = export_int8(far, heads.heads, SCHEMA, judged, Limits(1.0, 0.5, 0.05))
    assert not int8.variant.refused
    assert int8.files == {"rank.onnx": "rank.int8.onnx"}
    assert int8.graphs.part_dtype == "float32"


def test_columns_of_items_far_from_0_are_kept_as_bytes(graph, heads, judged):
    far = with_parts(graph, user=("Add", 300), item=("Add", -300))  # their sum stays what it was
    int8 = export_int8(far, heads.heads, SCHEMA, judged, Limits(1.0, 0.5, 0.05))
    assert not int8.variant.refused
    assert int8.graphs.part_dtype == "uint8"
