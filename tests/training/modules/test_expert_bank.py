"""Experts in one tensor against a plain loop over experts."""

import pytest
import torch

from training.modules.blocks import Blocks, Widths
from training.modules.expert_bank import ExpertBank

WIDTHS = Widths(user=5, item=4, cross=3)


def _bank(width_in):
    torch.manual_seed(0)
    bank = ExpertBank(width_in, groups=2, experts=3, hidden=(8, 6, 4)).double()
    for parameter in bank.parameters():
        torch.nn.init.normal_(parameter)
    return bank


def _looped(bank, g, e, x):
    """Expert e of group g, layer by layer."""
    weight = bank.first.weight
    at = g * bank.experts + e
    if weight.dim() == 2:
        weight, bias = (
            weight.unflatten(1, (-1, 8))[:, at],
            bank.first.bias.unflatten(0, (-1, 8))[at],
        )
    else:
        weight = weight[g].unflatten(1, (-1, 8))[:, e]
        bias = bank.first.bias[g, 0].unflatten(0, (-1, 8))[e]
    hidden = torch.relu(x @ weight + bias)
    for layer in bank.rest:
        hidden = torch.relu(hidden @ layer.weight[at] + layer.bias[at, 0])
    return hidden


@pytest.mark.parametrize("rows", [1, 7])
def test_experts_on_blocks_equal_a_loop(rows):
    bank = _bank(WIDTHS)
    x = Blocks(*(torch.randn(rows, w, dtype=torch.float64) for w in WIDTHS))
    out = bank(x)
    assert out.shape == (rows, 2, 3, 4)
    for g in range(2):
        for e in range(3):
            torch.testing.assert_close(
                out[:, g, e], _looped(bank, g, e, x.whole), rtol=0, atol=1e-11
            )


@pytest.mark.parametrize("rows", [1, 7])
def test_experts_on_groups_read_their_own_group(rows):
    bank = _bank(5)
    x = torch.randn(rows, 2, 5, dtype=torch.float64)
    out = bank(x)
    for g in range(2):
        for e in range(3):
            torch.testing.assert_close(
                out[:, g, e], _looped(bank, g, e, x[:, g]), rtol=0, atol=1e-11
            )


def test_experts_do_not_start_alike():
    torch.manual_seed(0)
    out = ExpertBank(WIDTHS, groups=1, experts=2, hidden=(8, 4))(
        Blocks(*(torch.randn(5, w) for w in WIDTHS))
    )
    assert not torch.allclose(out[:, 0, 0], out[:, 0, 1])
