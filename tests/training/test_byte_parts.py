"""in_bytes: item.onnx gives bytes, and rank.onnx adds and rounds them in one pass."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from service.contract.features import FeatureSchema
from service.scoring.graphs import CUT_FILES, CutGraphs
from service.scoring.session import Session
from tests.training.rankers.test_cut import ITEM, SCHEMA, USER, made
from training.byte_parts import in_bytes
from training.export import export_graph
from training.quantize import quantize
from training.rounding import Step

TRUNK = {"kind": "ple", "levels": 2, "own": 1, "shared": 1, "hidden": [64, 32]}
ALONE = FeatureSchema(features=(*USER, *ITEM))
ROWS = 200


class Case:
    """A cut ranker, exact and in bytes, and rows of it."""

    def __init__(self, schema: FeatureSchema, *, linear: bool) -> None:
        self.heads = made(TRUNK, schema, linear=linear)
        with torch.no_grad():
            for parameter in self.heads.ranker.parameters():
                parameter.mul_(0.3)
        draw, self.inputs = np.random.default_rng(2), {}
        for name, (_, dtype, width) in schema.inputs.items():
            high = {"user_ids": 4, "item_ids": 5}.get(name, 1)
            ids, values = draw.integers(0, high, (ROWS, width)), draw.exponential(2, (ROWS, width))
            self.inputs[name] = (ids if dtype == "int32" else values).astype(dtype)
        files = export_graph(self.heads, schema, self.inputs).cut
        self.exact = self._graphs(schema, files.files)
        user, item = self.exact.user_part(self.inputs), self.exact.item_part(self.inputs)
        pairs = {n: b for n, b in self.inputs.items() if schema.inputs[n][0] == "cross"}
        total = {"user_part": np.zeros_like(user[:1]), "item_part": user + item} | pairs
        rank = quantize(
            onnx.load_model_from_string(files.grouped), lambda probe: [Session(probe).run(total)]
        )
        apart = {"user_part": user, "item_part": item} | pairs
        item_file = onnx.load_model_from_string(files.files["item.onnx"])
        found = in_bytes(item_file, rank, lambda probe: [Session(probe).run(apart)])
        assert found is not None
        self.item, self.rank = found
        one = {"item.onnx": self.item, "rank.onnx": self.rank}
        rounded = {name: model.SerializeToString() for name, model in one.items()}
        self.floats = self._graphs(schema, {**files.files, "rank.onnx": rank.SerializeToString()})
        self.bytes = self._graphs(schema, {**files.files, **rounded})

    def _graphs(self, schema, files):
        user, item, rank = (Session(files[name], label=name) for name in CUT_FILES)
        return CutGraphs(user, item, rank, schema, self.heads.heads)

    def request(self, first=0, last=ROWS):
        return {
            n: b[:1] if n[:4] in ("user", "cont") else b[first:last] for n, b in self.inputs.items()
        }


@pytest.fixture(scope="module", params=["with pairs", "without pairs", "and a linear head"])
def case(request):
    schema = ALONE if request.param == "without pairs" else SCHEMA
    return Case(schema, linear=request.param == "and a linear head")


def test_parts_are_bytes_of_one_step_around_the_middle_of_their_column(case):
    exact, found = case.exact.item_part(case.inputs), case.bytes.item_part(case.inputs)
    assert (case.bytes.part_dtype, found.dtype) == ("uint8", np.uint8)
    moved = exact - (exact.min(axis=0) + exact.max(axis=0)) / 2  # 0 is in the middle of a column
    step = Step.over(moved.min(), moved.max())
    expected = np.clip(np.rint(moved / step.scale) + step.zero, 0, 255)
    np.testing.assert_array_equal(found, expected)


def test_heads_stay_as_near_the_exact_ones_as_those_of_float_parts(case):
    for model in (case.item, case.rank):
        onnx.checker.check_model(model, full_check=True)
    request = case.request()
    exact, floats, found = (g.run(request) for g in (case.exact, case.floats, case.bytes))
    for head, values in exact.items():
        off = np.abs(found[head] - values).max()
        assert 0 < off < 2 * np.abs(floats[head] - values).max() + 0.01


def test_an_items_heads_have_the_same_bits_in_any_company(case):
    together = case.bytes.run(case.request())
    for first, last in [(0, 1), (3, 5), (7, 24), (100, 157)]:
        alone = case.bytes.run(case.request(first, last))
        for head, values in together.items():
            np.testing.assert_array_equal(alone[head], values[first:last])


def test_bytes_are_added_and_rounded_in_one_pass(case, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.log_severity_level = 3
    content = case.rank.SerializeToString()
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "run.onnx").graph.node
    (added,) = (node for node in nodes if node.op_type == "QLinearAdd")
    assert "item_part" in added.input
    read = Counter(node.op_type for node in nodes if "item_part" in node.input)
    assert read.keys() <= {"QLinearAdd", "Slice"}


def test_a_sum_that_nothing_rounds_is_left_in_floats():
    heads = made(TRUNK)
    inputs = {n: np.zeros((ROWS, width), dtype) for n, (_, dtype, width) in SCHEMA.inputs.items()}
    files = export_graph(heads, SCHEMA, inputs).cut.files
    item, exact = (onnx.load_model_from_string(files[n]) for n in ("item.onnx", "rank.onnx"))
    assert in_bytes(item, exact, lambda probe: []) is None
