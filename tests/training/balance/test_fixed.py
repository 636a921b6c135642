"""Fixed weights are the objective's own sum."""

import torch

from tests.training.balance.losses import Net, objective
from training.balance.fixed import Fixed
from training.config.train import Calibrator


def test_the_gradient_is_the_weighted_sum_with_what_belongs_to_no_task():
    minimised = objective(calibrator=Calibrator(chain=("ctr", "like"), weight=0.6))
    assert minimised.names == ("ctr", "like", "vcr")
    net = Net([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 10.0]])
    Fixed(minimised).backward(net.losses((*minimised.names, "calibrator")), epoch=0)
    expected = torch.tensor([[2 * 1.0 + 3.0, 1.0 + 0.6 * 10]], dtype=torch.float64)
    torch.testing.assert_close(net.trunk.weight.grad, expected)
