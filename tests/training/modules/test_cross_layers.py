"""Cross layers of DCN-v2 against the equation, and low rank against full rank."""

import pytest
import torch

from training.modules.blocks import Blocks, Field, Layout, Widths
from training.modules.cross_layers import CrossLayers

LAYOUT = Layout(
    (
        Field("user_id", 3, "user", embedded=True),
        Field("item_id", 3, "item", embedded=True),
        Field("rate", 1, "cross", embedded=False),
    )
)
D = 7
EXACT = {"rtol": 0, "atol": 1e-12}


def _blocks(rows=5):
    torch.manual_seed(0)
    return Blocks(*(torch.randn(rows, w, dtype=torch.float64) for w in LAYOUT.widths))


def _made(**options):
    torch.manual_seed(1)
    return CrossLayers(LAYOUT, **options).double()


@pytest.mark.parametrize("rows", [1, 5])
def test_a_layer_is_its_equation_entry_by_entry(rows):
    cross, x = _made(layers=2), _blocks(rows)
    first = current = x.whole
    for layer in cross.layers:
        (affine,) = layer.maps
        following = torch.empty_like(current)
        for i in range(D):
            inside = sum(affine.weight[i, j] * current[:, j] for j in range(D)) + affine.bias[i]
            following[:, i] = first[:, i] * inside + current[:, i]
        current = following
    torch.testing.assert_close(cross(x).whole, current, **EXACT)


def test_full_rank_in_two_factors_is_the_full_matrix():
    full, low = _made(layers=2), _made(layers=2, rank=D)
    with torch.no_grad():
        for ours, theirs in zip(low.layers, full.layers, strict=True):
            left, middle, right = torch.linalg.svd(theirs.maps[0].weight)
            ours.maps[0].weight.copy_(right)
            ours.maps[1].weight.copy_(left * middle)
            ours.maps[1].bias.copy_(theirs.maps[0].bias)
    torch.testing.assert_close(low(_blocks()).whole, full(_blocks()).whole, **EXACT)


def test_rank_one_has_the_papers_number_of_parameters():
    count = sum(p.numel() for p in _made(layers=3, rank=1).parameters())
    assert count == 3 * (2 * D * 1 + D)


def test_without_weights_the_input_passes_unchanged():
    cross = _made(layers=2)
    for parameter in cross.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(cross(_blocks()).whole, _blocks().whole)


def test_every_column_of_the_result_is_a_cross_column():
    cross = _made(layers=1)
    x = cross(_blocks())
    assert cross.layout.widths == Widths(0, 0, D)
    assert (x.user.shape[1], x.item.shape[1], x.cross.shape[1]) == cross.layout.widths
