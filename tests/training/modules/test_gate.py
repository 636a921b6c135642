"""Gates are distributions that the selector alone decides."""

import pytest
import torch

from training.modules.blocks import Blocks, Widths
from training.modules.gate import Gate

WIDTHS = Widths(user=5, item=4, cross=3)


def _blocks(rows):
    torch.manual_seed(1)
    return Blocks(*(torch.randn(rows, w, dtype=torch.float64) for w in WIDTHS))


@pytest.mark.parametrize("rows", [1, 7])
def test_gate_weights_are_a_distribution_per_group(rows):
    weights = Gate(WIDTHS, groups=2, pool=3).double().weights(_blocks(rows))
    assert weights.shape == (rows, 2, 3)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(rows, 2, dtype=torch.float64))


@pytest.mark.parametrize("rows", [1, 7])
def test_a_gate_is_a_loop_over_groups_and_experts(rows):
    gate = Gate(WIDTHS, groups=2, pool=3).double()
    x, pool = _blocks(rows), torch.randn(rows, 2, 3, 4, dtype=torch.float64)
    weights = gate.weights(x)
    expected = [sum(weights[:, g, e, None] * pool[:, g, e] for e in range(3)) for g in range(2)]
    torch.testing.assert_close(gate(x, pool), torch.stack(expected, dim=1), rtol=0, atol=1e-12)


def test_a_shared_pool_is_the_same_pool_for_every_group():
    gate = Gate(WIDTHS, groups=2, pool=3).double()
    x, pool = _blocks(7), torch.randn(7, 1, 3, 4, dtype=torch.float64)
    assert torch.equal(gate(x, pool), gate(x, pool.expand(-1, 2, -1, -1)))


def test_a_later_gate_reads_only_its_own_groups_selector():
    gate = Gate(5, groups=2, pool=3).double()
    selector = torch.randn(7, 2, 5, dtype=torch.float64)
    before = gate.weights(selector)
    selector[:, 1] += 1
    after = gate.weights(selector)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])


def test_a_pool_of_equal_experts_makes_the_gate_irrelevant():
    gate = Gate(WIDTHS, groups=2, pool=3).double()
    one = torch.randn(7, 1, 1, 4, dtype=torch.float64)
    out = gate(_blocks(7), one.expand(-1, 2, 3, -1))
    torch.testing.assert_close(out, one[:, 0].expand(-1, 2, -1), rtol=0, atol=1e-12)


def test_a_gate_has_no_bias():
    assert [name for name, _ in Gate(WIDTHS, groups=2, pool=3).named_parameters()] == [
        "select.weight"
    ]
