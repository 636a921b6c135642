"""Weighted logistic regression: the odds identity, and that odds are served, not sigmoids."""

import math

import torch

from training.readouts.odds import Odds

N = 100
AMOUNT = torch.zeros(N, dtype=torch.float64)
AMOUNT[:3] = torch.tensor([10.0, 50.0, 3.0])


def _constant_minimising(readout: Odds) -> float:
    """The constant logit of least mean loss, by Newton's method."""
    z = torch.zeros((), dtype=torch.float64, requires_grad=True)
    for _ in range(50):
        loss = readout.loss(z.expand(N), AMOUNT).mean()
        (gradient,) = torch.autograd.grad(loss, z, create_graph=True)
        (curvature,) = torch.autograd.grad(gradient, z)
        z = (z - gradient / curvature).detach().requires_grad_()
    return z.item()


def test_with_the_papers_negatives_the_odds_are_the_sum_over_the_negatives():
    """N = 100, k = 3, T = (10, 50, 3): odds .6495, above the mean .63."""
    odds = math.exp(_constant_minimising(Odds("zero")))
    assert abs(odds - AMOUNT.sum().item() / (N - 3)) < 1e-12
    assert round(odds, 4) == 0.6495
    mean, share = AMOUNT.mean().item(), 3 / N
    assert abs(odds - mean / (1 - share)) < 1e-12


def test_with_every_row_a_negative_the_odds_are_the_mean():
    assert abs(math.exp(_constant_minimising(Odds("every"))) - 0.63) < 1e-12


def test_the_loss_is_that_of_the_paper():
    z = torch.randn(N, dtype=torch.float64)
    p = torch.sigmoid(z)
    positive = AMOUNT > 0
    expected = torch.where(positive, -AMOUNT * p.log(), -(1 - p).log())
    torch.testing.assert_close(Odds("zero").loss(z, AMOUNT), expected)
    cloned = -AMOUNT * p.log() - (1 - p).log()
    torch.testing.assert_close(Odds("every").loss(z, AMOUNT), cloned)


def test_it_says_odds_and_ends_at_the_largest_amount_of_the_training_rows():
    readout = Odds()
    readout.fit(AMOUNT.float())
    assert readout.top == 50
    said = readout(torch.tensor([0.0, math.log(7), 99.0]))
    torch.testing.assert_close(said, torch.tensor([1.0, 7.0, 50.0]))


def test_it_starts_at_the_mean():
    amount = AMOUNT.repeat(100)
    assert abs(Odds().start(amount).exp().item() - 0.63) < 1e-3
    assert abs(Odds("zero").start(amount).exp().item() - 0.6495) < 1e-3
    assert torch.isfinite(Odds().start(torch.zeros(4))).all()
