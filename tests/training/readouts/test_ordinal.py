"""CREAD's ladder: labels, and that true probabilities give the exact mean."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.readouts.ordinal import Ordinal


def _true_logits(readout: Ordinal, amounts: torch.Tensor) -> torch.Tensor:
    """(M,) logits of the shares of rows that reach each threshold."""
    reached = (amounts.unsqueeze(1) >= readout.thresholds).double().mean(0)
    return torch.logit(reached)


def _fitted(amounts: torch.Tensor, bins: int) -> Ordinal:
    readout = Ordinal(bins).double()
    readout.fit(amounts)
    return readout


@given(
    amounts=st.lists(st.floats(0, 1000, width=32), min_size=1, max_size=60),
    bins=st.integers(1, 12),
)
def test_true_probabilities_give_the_exact_mean_whatever_the_thresholds(amounts, bins):
    amounts = torch.tensor(amounts, dtype=torch.float64)
    readout = _fitted(amounts, bins)
    said = readout(_true_logits(readout, amounts).unsqueeze(0)).item()
    assert abs(said - amounts.mean().item()) <= 1e-9 * max(1, amounts.max().item())
    assert (readout.steps >= 0).all()
    assert readout.top <= amounts.max().item() + 1e-5


def test_of_an_amount_that_takes_only_the_thresholds_it_is_the_papers_sum():
    """E[y] = sum_m P(y >= t_m)(t_m - t_(m-1)), t_0 = 0."""
    amounts = torch.tensor([0.0, 0.0, 3.0, 3.0, 10.0, 40.0, 40.0, 40.0], dtype=torch.float64)
    survival = torch.tensor([6, 4, 3], dtype=torch.float64) / 8
    readout = Ordinal(3).double()
    readout.steps.copy_(torch.tensor([3.0, 7.0, 30.0]))
    said = readout(torch.logit(survival).unsqueeze(0)).item()
    assert abs(said - amounts.mean().item()) < 1e-12


def test_labels_fall_along_the_ladder_and_the_loss_is_their_mean_cross_entropy():
    amounts = 50 * torch.rand(200, dtype=torch.float64)
    readout = _fitted(amounts, 7)
    reached = readout._reached(amounts)
    assert (reached[:, 1:] <= reached[:, :-1]).all()
    logit = torch.randn(200, 7, dtype=torch.float64)
    p = torch.sigmoid(logit)
    expected = -torch.where(reached, p.log(), (1 - p).log()).mean(1)
    torch.testing.assert_close(readout.loss(logit, amounts), expected)


def test_thresholds_that_fall_on_one_amount_add_nothing():
    amounts = torch.tensor([0.0] * 5 + [7.0] * 20 + [9.0], dtype=torch.float64)
    readout = _fitted(amounts, 5)
    assert (readout.steps == 0).sum() >= 3
    assert abs(readout(_true_logits(readout, amounts).unsqueeze(0)).item() - amounts.mean()) < 1e-9


def test_it_starts_at_the_shares_that_reach_each_threshold():
    amounts = torch.arange(100, dtype=torch.float64)
    readout = _fitted(amounts, 4)
    said = readout(readout.start(amounts).unsqueeze(0)).item()
    assert abs(said - amounts.mean().item()) < 1
