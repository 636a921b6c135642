"""The first layers: one GEMM, and the same numbers as three separate matrices."""

import pytest
import torch

from training.modules.blocks import Blocks, Widths
from training.modules.linear import BlockLinear, GroupLinear

WIDTHS = Widths(user=5, item=4, cross=3)


def _blocks(rows, widths=WIDTHS):
    random = torch.Generator().manual_seed(0)
    return Blocks(*(torch.randn(rows, w, generator=random, dtype=torch.float64) for w in widths))


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("widths", [WIDTHS, Widths(user=5, item=4, cross=0)])
def test_the_parts_of_a_block_linear_add_up_to_it(rows, widths):
    layer = BlockLinear(widths, 2, 6).double()
    torch.nn.init.normal_(layer.bias)
    x = _blocks(rows, widths)
    torch.testing.assert_close(sum(layer.parts(x)), layer(x), rtol=0, atol=1e-12)
    assert layer(x).shape == (rows, 2, 6)


def test_a_block_linear_is_one_matrix_on_the_concatenation():
    layer = BlockLinear(WIDTHS, 1, 6).double()
    x = _blocks(7)
    whole = torch.cat([x.user, x.item, x.cross], dim=1)
    expected = whole @ layer.weight + layer.bias
    torch.testing.assert_close(layer(x)[:, 0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 7])
def test_a_group_linear_is_a_loop_over_groups(rows):
    layer = GroupLinear(3, 5, 2).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(rows, 3, 5, dtype=torch.float64)
    expected = [x[:, g] @ layer.weight[g] + layer.bias[g] for g in range(3)]
    torch.testing.assert_close(layer(x), torch.stack(expected, dim=1), rtol=0, atol=1e-12)
