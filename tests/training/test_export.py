"""The ONNX graph: one file, named heads, equal to PyTorch, and free of this machine's traces."""

import numpy as np
import onnx
import pytest
import torch

from service.contract.features import Categorical, FeatureSchema, MultiValued, Numeric
from service.contract.manifest import Parity
from service.scoring.session import Session
from training.config.model import Model
from training.config.task import Task
from training.export import ExportError, check_parity, check_size, export_graph, run_heads
from training.rankers.build import build_ranker
from training.rankers.heads import Heads

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="user_id", side="user", vocabulary=("a", "b", "c")),
        MultiValued(name="tags", side="item", max_length=3, hash_buckets=5),
        Numeric(name="price", side="item", default=0),
    )
)
TASKS = (
    Task(name="ctr", label="click"),
    Task(name="cvr", label="buy", space="click", loss="none"),
    Task(name="ctcvr", label="buy", product=("ctr", "cvr")),
    Task(name="stays", label="play", beside="ctr"),
)
PRODUCTS = {"ctr": None, "cvr": None, "ctcvr": ("ctr", "cvr")}


@pytest.fixture(scope="module")
def exported():
    torch.manual_seed(0)
    trunk = {"kind": "mmoe", "experts": 2, "hidden": [6, 4]}
    model = Model.model_validate({"trunk": trunk, "towers": [4], "log1p": ["price"]})
    heads = Heads(build_ranker(SCHEMA, model, TASKS), list(SCHEMA.inputs), PRODUCTS)
    return heads, export_graph(heads, SCHEMA, _rows(50))


def _rows(rows):
    random = np.random.default_rng(0)
    return {
        "user_ids": random.integers(0, 4, (rows, 1), np.int32),
        "item_ids": random.integers(0, 6, (rows, 3), np.int32),
        "item_values": random.exponential(10, (rows, 1)).astype(np.float32),
    }


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_onnx_runtime_says_what_pytorch_says(exported, rows):
    heads, graph = exported
    found = Session(graph.content).run(_rows(rows))
    for name, expected in run_heads(heads, _rows(rows)).items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-5)


def test_ctcvr_in_the_graph_is_ctr_times_cvr_bit_for_bit(exported):
    found = Session(exported[1].content).run(_rows(300))
    assert (found["ctcvr"] == found["ctr"] * found["cvr"]).all()


def test_parity_and_opset_are_measured_on_the_graph_itself(exported):
    _, graph = exported
    assert graph.parity.batches == (1, 7, 300)
    assert graph.parity.max_abs_difference.keys() == PRODUCTS.keys()
    assert max(graph.parity.max_abs_difference.values()) <= 1e-5
    model = onnx.load_from_string(graph.content)
    assert graph.opset == model.opset_import[0].version >= 18


def test_outputs_are_named_by_head_and_the_auxiliary_task_is_gone(exported):
    model = onnx.load_from_string(exported[1].content)
    assert [o.name for o in model.graph.output] == ["ctr", "cvr", "ctcvr"]
    assert [i.name for i in model.graph.input] == list(SCHEMA.inputs)
    assert not [t.name for t in model.graph.initializer if "auxiliary" in t.name]


def test_the_graph_holds_no_path_and_no_source_line_of_the_machine_that_made_it(exported):
    content = exported[1].content
    assert b".py" not in content
    assert b"training/" not in content


@pytest.mark.parametrize("difference", [2e-5, float("nan")])
def test_a_graph_that_differs_from_pytorch_is_no_package(difference):
    parity = Parity(
        max_abs_difference={"ctr": 1e-7, "cvr": difference}, tolerance=1e-5, batches=(1, 7, 300)
    )
    with pytest.raises(ExportError, match="head cvr: ONNX Runtime differs from PyTorch by"):
        check_parity(parity)


def test_a_graph_too_large_for_one_file_is_refused():
    with pytest.raises(ExportError, match="would have 2,000,000,000 bytes; one file holds at most"):
        check_size(2_000_000_000)
