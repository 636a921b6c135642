"""Towers in one tensor against a plain loop over tasks."""

import pytest
import torch

from tests.training.modules.test_gate_nu import LAYOUT, _blocks
from training.modules.gate_nu import GateNU
from training.modules.linear import BlockLinear
from training.modules.tower_bank import TowerBank


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 3)])
def test_towers_equal_a_loop_over_tasks(rows, hidden):
    torch.manual_seed(0)
    towers = TowerBank(tasks=2, width_in=6, hidden=hidden).double()
    for parameter in towers.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(rows, 2, 6, dtype=torch.float64)
    out = towers(x)
    assert out.shape == (rows, 2)
    for task in range(2):
        h = x[:, task]
        for layer in towers.hidden:
            h = torch.relu(h @ layer.weight[task] + layer.bias[task, 0])
        expected = (h @ towers.out.weight[task] + towers.out.bias[task, 0])[:, 0]
        torch.testing.assert_close(out[:, task], expected, rtol=0, atol=1e-12)


def _gated(towers, widths):
    gates = [
        GateNU(LAYOUT, ["tab"], hidden=3, groups=2, width_out=width).double() for width in widths
    ]
    towers.gates = torch.nn.ModuleList(gates)


def test_gated_towers_are_the_plain_ones_before_training_then_scale_every_layers_input():
    towers = TowerBank(tasks=2, width_in=6, hidden=(5,)).double()
    x, blocks = torch.randn(7, 2, 6, dtype=torch.float64), _blocks(7)
    plain = towers(x)
    _gated(towers, (6, 5))
    assert torch.equal(towers(x, blocks), plain)
    for gate in towers.gates:
        torch.nn.init.normal_(gate.out.weight)
    first, second = (gate(blocks) for gate in towers.gates)
    hidden = torch.relu(towers.hidden[0](x * first))
    expected = towers.out(hidden * second).squeeze(2)
    torch.testing.assert_close(towers(x, blocks), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_features_beside_the_representation_are_one_longer_input(hidden):
    first = hidden[0] if hidden else 1
    beside = BlockLinear(LAYOUT.widths, 2, first, bias=False).double()
    towers = TowerBank(tasks=2, width_in=6, hidden=hidden, beside=beside).double()
    x, blocks = torch.randn(7, 2, 6, dtype=torch.float64), _blocks(7)
    longer = TowerBank(tasks=2, width_in=6 + 8, hidden=hidden).double()
    layers, theirs = [*longer.hidden, longer.out], [*towers.hidden, towers.out]
    with torch.no_grad():
        for ours, their in zip(layers, theirs, strict=True):
            ours.bias.copy_(their.bias)
            ours.weight[:, : their.weight.shape[1]].copy_(their.weight)
        layers[0].weight[:, 6:].copy_(beside.weight.unflatten(1, (2, first)).transpose(0, 1))
    both = torch.cat([x, blocks.whole.unsqueeze(1).expand(-1, 2, -1)], dim=2)
    torch.testing.assert_close(towers(x, blocks), longer(both), rtol=0, atol=1e-12)
