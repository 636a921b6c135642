"""Pooling against plain Python over the entries that are there."""

import pytest
import torch

from training.modules.pooling import POOLINGS

ROWS = torch.tensor([[[1.0, -2.0], [3.0, -4.0], [9.0, 9.0]]], dtype=torch.float64)
SOME = torch.tensor([[True, True, False]])


@pytest.mark.parametrize(
    ("kind", "expected"), [("mean", [2.0, -3.0]), ("sum", [4.0, -6.0]), ("max", [3.0, -2.0])]
)
def test_absent_entries_play_no_part(kind, expected):
    assert POOLINGS[kind](ROWS, SOME).tolist() == [expected]


@pytest.mark.parametrize("kind", POOLINGS)
def test_nothing_pools_to_zero_and_moves_nothing(kind):
    rows = ROWS.clone().requires_grad_()
    pooled = POOLINGS[kind](rows, torch.zeros(1, 3, dtype=torch.bool))
    pooled.sum().backward()
    assert torch.equal(pooled, torch.zeros(1, 2, dtype=torch.float64))
    assert torch.equal(rows.grad, torch.zeros_like(rows))


@pytest.mark.parametrize("kind", POOLINGS)
def test_order_plays_no_part(kind):
    order = torch.tensor([1, 2, 0])
    torch.testing.assert_close(
        POOLINGS[kind](ROWS[:, order], SOME[:, order]), POOLINGS[kind](ROWS, SOME)
    )
