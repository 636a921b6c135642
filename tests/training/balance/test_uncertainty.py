"""The optimum of both forms, and that nothing is clamped."""

import math

import pytest
import torch

from tests.training.balance.losses import Net, objective
from training.balance.uncertainty import Uncertainty

LOSSES = torch.tensor([0.02, 0.3, 5.0], dtype=torch.float64)


def _settled(squared):
    balance = Uncertainty(objective(), squared)
    balance.log_variance.data = balance.log_variance.data.double()
    optimiser = torch.optim.LBFGS(
        balance.parameters, max_iter=500, tolerance_grad=1e-13, tolerance_change=0
    )

    def closure():
        optimiser.zero_grad()
        total = balance.total(LOSSES)
        total.backward()
        return total

    optimiser.step(closure)
    return balance


@pytest.mark.parametrize(("squared", "factor"), [(True, 1), (False, 2)])
def test_at_the_optimum_every_task_contributes_a_half_and_weighs_one_over_twice_its_loss(
    squared, factor
):
    balance = _settled([squared] * 3)
    s = balance.log_variance.detach()
    torch.testing.assert_close(s, torch.log(factor * LOSSES), atol=1e-6, rtol=0)
    weight = torch.exp(-s) * (0.5 if squared else 1)
    torch.testing.assert_close(weight, 1 / (2 * LOSSES), atol=0, rtol=1e-5)
    torch.testing.assert_close(weight * LOSSES, torch.full_like(LOSSES, 0.5), atol=1e-6, rtol=0)
    total = balance.total(LOSSES).item()
    assert total == pytest.approx(3 / 2 + s.sum().item() / 2, abs=1e-9)


def test_a_loss_below_a_half_still_moves_a_variance_below_one():
    balance = Uncertainty(objective(), [False] * 3)
    balance.log_variance.data.fill_(-1.0)
    balance.total(torch.tensor([0.01, 0.01, 0.01])).backward()
    expected = -math.exp(1) * 0.01 + 0.5
    torch.testing.assert_close(balance.log_variance.grad, torch.full((3,), expected))


def test_network_and_variances_learn_from_one_backward_pass_and_come_back():
    net, minimised = Net([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), objective()
    balance = Uncertainty(minimised, [False, False, True])
    balance.backward(net.losses(minimised.names), epoch=0)
    expected = torch.tensor([[2 + 0.5, 1 + 0.5]], dtype=torch.float64)
    torch.testing.assert_close(net.trunk.weight.grad, expected)
    torch.testing.assert_close(balance.log_variance.grad, torch.tensor([0.5 - 2, 0.5 - 1, 0.5 - 1]))
    balance.log_variance.data.copy_(torch.tensor([1.0, -2.0, 0.1]))
    again = Uncertainty(minimised, [False, False, True])
    again.restore(balance.state())
    assert torch.equal(again.log_variance, balance.log_variance)
