"""quantize: constant scales, 7-bit weights, and only the large products."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from service.scoring.session import Session
from training.grouped import as_groups
from training.matrices import as_matrices
from training.quantize import quantize
from training.to_onnx import to_onnx


class Network(nn.Module):
    """Two products apart by a Relu, one of a Relu that somebody else reads too, a small one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.first, self.second = nn.Linear(40, 64), nn.Linear(64, 32)
        self.third, self.last = nn.Linear(32, 32, bias=False), nn.Linear(32, 1)

    def forward(self, *inputs):
        (x,) = inputs
        hidden = torch.relu(self.second(torch.relu(self.first(x))))
        return (torch.sigmoid(self.last(self.third(hidden) + hidden)).squeeze(1),)


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(400, 40)).astype(np.float32)


@pytest.fixture(scope="module")
def exact():
    return as_matrices(to_onnx(Network(), {"x": ("float32", 40)}, ["p"]))


@pytest.fixture(scope="module")
def rounded(exact, rows):
    return quantize(exact, lambda probe: [Session(probe).run({"x": rows})])


def run(model, x):
    return Session(model.SerializeToString()).run({"x": x})["p"]


def test_heads_stay_near_the_exact_ones_and_are_not_equal(exact, rounded, rows):
    onnx.checker.check_model(rounded, full_check=True)
    difference = np.abs(run(exact, rows) - run(rounded, rows))
    assert 0 < difference.max() < 0.01


def test_large_products_alone_have_whole_weights_of_seven_bits(exact, rounded):
    seen = Counter(node.op_type for node in rounded.graph.node)
    assert (seen["Gemm"], seen["MatMul"]) == (3, 1)
    weights = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in rounded.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2
    }
    assert sorted(weight.shape for weight in weights.values()) == [(32, 32), (40, 64), (64, 32)]
    for weight in weights.values():
        np.testing.assert_array_equal(np.abs(weight).max(axis=0), 64)


def test_a_relu_that_products_alone_read_is_left_to_the_rounding(rounded):
    seen = Counter(node.op_type for node in rounded.graph.node)
    assert seen["Relu"] == 0
    assert seen["Max"] == 1  # what `third` and the sum read


def test_values_outside_the_calibrated_range_are_cut_off(exact, rows):
    narrow = quantize(exact, lambda probe: [Session(probe).run({"x": rows[:4] * 0.01})])
    assert np.abs(run(narrow, rows) - run(exact, rows)).max() > 0.05


def test_rows_have_the_same_bits_in_any_company(rounded, rows):
    together = run(rounded, rows)
    for first, last in [(0, 1), (3, 5), (7, 24), (100, 257)]:
        np.testing.assert_array_equal(run(rounded, rows[first:last]), together[first:last])


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("weights", [0.0, 1.0])
def test_a_bias_stays_beside_values_that_hardly_vary(exact, rows, scale, weights):
    still = rows * np.float32(scale)
    model = onnx.ModelProto()
    model.CopyFrom(exact)
    for tensor in model.graph.initializer:
        if tuple(tensor.dims) == (40, 64):
            values = numpy_helper.to_array(tensor) * np.float32(weights)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    rounded = quantize(model, lambda probe: [Session(probe).run({"x": still})])
    np.testing.assert_allclose(run(rounded, still), run(model, still), rtol=0, atol=0.002)


class Bank(nn.Module):
    """Two experts of two layers, mixed by a gate; `plain` reads what an expert gives as it is."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Parameter(torch.randn(2, 40, 64) / 6)
        self.second = nn.Parameter(torch.randn(2, 64, 48) / 8)
        self.out = nn.Linear(48, 1)

    def forward(self, *inputs):
        (x,) = inputs
        hidden = torch.relu((x.unflatten(1, (2, 40)).transpose(0, 1) @ self.first).transpose(0, 1))
        made = (hidden.transpose(0, 1) @ self.second).transpose(0, 1)
        weights = torch.softmax(x[:, :2], dim=1).unsqueeze(1)
        mixed = (weights.unsqueeze(-1) * torch.relu(made).unsqueeze(1)).sum(dim=2)
        plain = torch.tanh(made).flatten(1).sum(dim=1)
        return torch.sigmoid(self.out(mixed.squeeze(1))).squeeze(1), torch.sigmoid(plain / 9)


@pytest.fixture(scope="module")
def bank():
    return as_groups(to_onnx(Bank(), {"x": ("float32", 80)}, ["p", "plain"]))


@pytest.fixture(scope="module")
def pairs():
    return np.random.default_rng(1).normal(size=(400, 80)).astype(np.float32)


@pytest.fixture(scope="module")
def rounded_bank(bank, pairs):
    return quantize(bank, lambda probe: [Session(probe).run({"x": pairs})])


def test_products_of_groups_and_mixtures_take_and_give_8_bits(rounded_bank, tmp_path):
    onnx.checker.check_model(rounded_bank, full_check=True)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.log_severity_level = 3
    content = rounded_bank.SerializeToString()
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    run_as = Counter(node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node)
    assert run_as["QLinearConv"] == 2
    assert run_as["Conv"] == run_as["Transpose"] == 0
    assert run_as["QLinearMatMul"] + run_as["MatMulIntegerToFloat"] == 1


def test_groups_stay_near_the_exact_ones_and_have_the_same_bits_in_any_company(
    bank, rounded_bank, pairs
):
    exact, session = (Session(m.SerializeToString()) for m in (bank, rounded_bank))
    expected, together = exact.run({"x": pairs}), session.run({"x": pairs})
    for head, values in together.items():
        assert 0 < np.abs(values - expected[head]).max() < 0.02
    for first, last in [(0, 1), (3, 5), (7, 24), (100, 257)]:
        alone = session.run({"x": pairs[first:last]})
        for head, values in together.items():
            np.testing.assert_array_equal(alone[head], values[first:last])


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e-3])
def test_a_bias_of_groups_stays_beside_values_that_hardly_vary(scale):

    class Biased(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(4)
            self.weight = nn.Parameter(torch.randn(2, 40, 64) / 6)
            self.bias = nn.Parameter(torch.randn(2, 1, 64))

        def forward(self, *inputs):
            (x,) = inputs
            made = x.unflatten(1, (2, 40)).transpose(0, 1) @ self.weight + self.bias
            return (torch.tanh(made).transpose(0, 1).flatten(1).sum(dim=1),)

    model = as_groups(to_onnx(Biased(), {"x": ("float32", 80)}, ["p"]))
    assert [len(node.input) for node in model.graph.node if node.op_type == "Conv"] == [3]
    x = np.random.default_rng(1).normal(size=(50, 80)).astype(np.float32) * np.float32(scale)
    rounded = quantize(model, lambda probe: [Session(probe).run({"x": x})])
    assert np.abs(run(model, x)).min() > 1
    np.testing.assert_allclose(run(rounded, x), run(model, x), rtol=0, atol=0.2)
