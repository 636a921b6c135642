"""Weights follow w0 * rate^t."""

import pytest
import torch

from tests.training.balance.losses import Net, objective
from training.balance.decay import Decay
from training.config.balance import DecayBalance

DIRECTIONS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(("unit", "powers"), [("epoch", [0, 0, 1, 2]), ("step", [0, 1, 2, 3])])
def test_weights_are_the_first_ones_times_the_rate_to_the_epochs_or_steps_done(unit, powers):
    net, minimised = Net(DIRECTIONS), objective()
    balance = Decay(minimised, DecayBalance(kind="decay", rates={"ctr": 0.5, "vcr": 3}, unit=unit))
    for epoch, power in zip([0, 0, 1, 2], powers, strict=True):
        net.zero_grad()
        balance.backward(net.losses(minimised.names), epoch)
        expected = torch.tensor([[2 * 0.5**power, 1.0, 3.0**power]], dtype=torch.float64)
        torch.testing.assert_close(net.trunk.weight.grad, expected)


def test_a_continued_run_goes_on_with_its_steps():
    net, minimised = Net(DIRECTIONS), objective()
    config = DecayBalance(kind="decay", rates={"ctr": 0.5}, unit="step")
    one, other = Decay(minimised, config), Decay(minimised, config)
    for _ in range(3):
        one.backward(net.losses(minimised.names), 0)
    other.restore(one.state())
    assert torch.equal(other.factors(0), torch.tensor([0.125, 1, 1]))
