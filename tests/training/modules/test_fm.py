"""The factorisation machine against the double loop over pairs of features."""

from itertools import combinations

import pytest
import torch

from training.modules.blocks import Blocks, Field, Layout
from training.modules.fm import FactorizationMachine

DIM = 3
LAYOUT = Layout(
    (
        Field("user_id", DIM, "user", embedded=True),
        Field("hour", 1, "user", embedded=False),
        Field("item_id", DIM, "item", embedded=True),
        Field("brand", DIM, "item", embedded=True),
        Field("pair.rate", 1, "cross", embedded=False),
    )
)


def _blocks(rows):
    torch.manual_seed(0)
    return Blocks(*(torch.randn(rows, w, dtype=torch.float64) for w in LAYOUT.widths))


def _vectors(x, fm):
    """v_i of every feature: its embedding, or its number times a vector."""
    numbers = fm.of_numbers
    yield x.user[:, :3]
    yield x.user[:, 3:4] * numbers[0]
    yield x.item[:, :3]
    yield x.item[:, 3:6]
    yield x.cross[:, :1] * numbers[1]


@pytest.mark.parametrize("rows", [1, 7])
def test_the_closed_form_is_the_double_loop_over_pairs(rows):
    fm, x = FactorizationMachine(LAYOUT, dim=DIM).double(), _blocks(rows)
    expected = sum(a * b for a, b in combinations(list(_vectors(x, fm)), 2))
    torch.testing.assert_close(fm.interaction(x), expected, rtol=0, atol=1e-12)
    assert torch.equal(fm(x).cross[:, 1:], fm.interaction(x))


def test_summed_columns_are_the_second_order_term_of_deepfm():
    fm, x = FactorizationMachine(LAYOUT, dim=DIM).double(), _blocks(7)
    pairs = combinations(list(_vectors(x, fm)), 2)
    dots = sum((a * b).sum(dim=1) for a, b in pairs)
    torch.testing.assert_close(fm.interaction(x).sum(dim=1), dots, rtol=0, atol=1e-12)


def test_only_the_chosen_features_take_part():
    fm = FactorizationMachine(LAYOUT, dim=DIM, features=["*_id"]).double()
    x = _blocks(7)
    torch.testing.assert_close(fm.interaction(x), x.user[:, :3] * x.item[:, :3])


def test_a_single_feature_has_no_pair():
    fm = FactorizationMachine(LAYOUT, dim=DIM, features=["brand"]).double()
    interaction = fm.interaction(_blocks(7))
    torch.testing.assert_close(interaction, torch.zeros_like(interaction), rtol=0, atol=1e-12)


def test_the_new_columns_have_the_blocks_name():
    fm = FactorizationMachine(LAYOUT, dim=DIM, name="pairs")
    assert fm.layout.fields[-1] == Field("pairs", DIM, "cross", embedded=False)
