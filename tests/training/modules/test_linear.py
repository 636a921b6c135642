"""The first layers: one GEMM, and the same numbers as three separate matrices."""

import pytest
import torch

from training.modules.blocks import Blocks, Widths
from training.modules.linear import BlockLinear, GroupLinear, multiply_together

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


def test_a_layer_that_reads_some_columns_is_the_whole_one_with_zero_weight_elsewhere():
    layer, x = BlockLinear(WIDTHS, 2, 6).double(), _blocks(7)
    columns = torch.tensor([0, 4, 7, 11])
    layer.read_only(columns)
    assert layer.weight.shape == (4, 12)
    whole = torch.zeros(WIDTHS.total, 12, dtype=torch.float64)
    whole[columns] = layer.weight
    expected = (x.whole @ whole + layer.bias).unflatten(1, (2, 6))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(sum(layer.parts(x)), expected, rtol=0, atol=1e-12)


def test_columns_that_are_not_read_get_no_gradient():
    layer = BlockLinear(WIDTHS, 2, 6).double()
    layer.read_only(torch.tensor([1, 5]))
    item = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    x = _blocks(7)
    layer(Blocks(x.user, item, x.cross)).square().sum().backward()
    assert item.grad[:, 0].all()
    assert not item.grad[:, 1:].any()


def test_a_detached_layer_learns_but_sends_nothing_back():
    layer = BlockLinear(WIDTHS, 2, 6, detached=True).double()
    item = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    x = _blocks(7)
    blocks = Blocks(x.user, item, x.cross)
    torch.testing.assert_close(layer(blocks), sum(layer.parts(blocks)), rtol=0, atol=1e-12)
    layer(blocks).square().sum().backward()
    assert item.grad is None
    assert layer.weight.grad.any()


def test_layers_together_give_what_each_gives_alone_and_so_do_their_gradients():
    torch.manual_seed(3)
    widths = ((2, 6, True), (3, 1, False), (1, 4, True))
    layers = [BlockLinear(WIDTHS, groups, out, bias=bias).double() for groups, out, bias in widths]
    found = []
    for together in (False, True):
        item = _blocks(7).item.requires_grad_()
        x = Blocks(_blocks(7).user, item, _blocks(7).cross)
        if together:
            multiply_together(x, layers)
            assert set(x.products) == set(layers)
        outs = [layer(x) for layer in layers]
        assert not x.products, "every product is taken"
        sum(out.square().sum() for out in outs).backward()
        gradients = [parameter.grad for layer in layers for parameter in layer.parameters()]
        found.append([*outs, item.grad, *gradients])
        for layer in layers:
            layer.zero_grad()
    for alone, together in zip(*found, strict=True):
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_layers_that_read_less_than_all_of_the_input_are_left_alone():
    detached = BlockLinear(WIDTHS, 1, 2, detached=True).double()
    chosen = BlockLinear(WIDTHS, 1, 2).double()
    chosen.read_only(torch.tensor([0, 3]))
    narrow = BlockLinear(Widths(user=5, item=4, cross=0), 1, 2).double()
    x = _blocks(7)
    plain = [BlockLinear(WIDTHS, 1, 2).double() for _ in range(2)]
    multiply_together(x, [detached, chosen, narrow, *plain])
    assert set(x.products) == set(plain)
