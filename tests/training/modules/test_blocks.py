"""Layout: which columns of the embedded input a feature is."""

import pytest
import torch

from training.modules.blocks import Blocks, Field, Layout, UnknownField, Widths

LAYOUT = Layout(
    (
        Field("user_id", 3, "user", embedded=True),
        Field("hour", 1, "user", embedded=False),
        Field("item_id", 3, "item", embedded=True),
        Field("pair.rate", 1, "cross", embedded=False),
        Field("pair.n", 1, "cross", embedded=False),
    )
)


def _columns(*patterns):
    return LAYOUT.columns(LAYOUT.select(patterns)).tolist()


def test_widths_are_sums_of_the_fields_of_a_block():
    assert LAYOUT.widths == Widths(user=4, item=3, cross=2)
    assert LAYOUT.starts == (0, 3, 4, 7, 8)


@pytest.mark.parametrize(
    ("patterns", "columns"),
    [
        (["hour"], [3]),
        (["item_id", "user_id"], [0, 1, 2, 4, 5, 6]),
        (["*_id", "item_id"], [0, 1, 2, 4, 5, 6]),
        (["pair"], [7, 8]),
        (["pair.n"], [8]),
        (["*"], list(range(9))),
        ([], []),
    ],
)
def test_patterns_select_columns_in_the_layouts_order_and_once(patterns, columns):
    assert _columns(*patterns) == columns


def test_a_pattern_that_matches_nothing_is_refused_with_what_there_is():
    with pytest.raises(UnknownField) as caught:
        LAYOUT.select(["hour", "pairs"])
    known = "user_id, hour, item_id, pair.rate, pair.n"
    assert str(caught.value) == f"'pairs' matches no feature of the model ({known})"


def test_what_is_appended_to_the_cross_block_is_the_layouts_last_field():
    x = Blocks(torch.ones(2, 4), torch.ones(2, 3), torch.ones(2, 2))
    more = LAYOUT.with_cross("fm", 5)
    wider = x.with_cross(torch.full((2, 5), 7.0))
    assert more.widths == Widths(4, 3, 7)
    assert torch.equal(wider.whole[:, more.columns(more.select(["fm"]))], torch.full((2, 5), 7.0))


def test_a_name_is_given_once():
    with pytest.raises(UnknownField, match="two features or input blocks are named 'hour'"):
        LAYOUT.with_cross("hour", 1)
