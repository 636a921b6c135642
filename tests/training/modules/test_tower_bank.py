"""Towers in one tensor against a plain loop over tasks."""

import pytest
import torch

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
