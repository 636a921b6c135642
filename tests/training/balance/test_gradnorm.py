"""GradNorm: the worked step, what is updated by what, and where gradients are measured."""

import pytest
import torch
from torch import nn

from tests.training.balance.losses import TASKS, Net, objective
from training.balance.gradnorm import GradNorm, GradNormError
from training.config.balance import GradNormBalance
from training.config.task import Task

CONFIG = GradNormBalance(kind="gradnorm", alpha=1.5, learning_rate=0.025)
TWO = (Task(name="ctr", label="click"), Task(name="like", label="like"))


def test_the_worked_step():
    """Norms (4, 1), w (1, 1), L / L(0) = (.5, .8): r = (.769, 1.231), targets (1.687, 3.414)."""
    balance = GradNorm(objective(TWO), CONFIG, Net([[1.0], [1.0]]))
    norms, left = torch.tensor([4.0, 1.0]), torch.tensor([0.5, 0.8])
    moved = balance.moved(torch.ones(2), norms, left, torch.tensor([True, True]))
    # before rescaling: 1 - .025 * 4 = .9 and 1 + .025 * 1 = 1.025
    expected = torch.tensor([0.9, 1.025]) * 2 / 1.925
    torch.testing.assert_close(moved, expected)
    assert moved.tolist() == pytest.approx([0.9351, 1.0649], abs=5e-5)


def test_weights_move_by_measured_norms_and_sum_to_the_number_of_tasks():
    net, minimised = Net([[2.4, 3.2], [0.8, 0.6]]), objective(TWO)  # norms 4 and 1
    balance = GradNorm(minimised, CONFIG, net)
    balance.backward(net.losses(minimised.names), 0)
    # r = 1 for both, the target is the mean norm 2.5: the larger falls, the smaller rises
    expected = torch.tensor([0.9, 1.025], dtype=torch.float64) * 2 / 1.925
    torch.testing.assert_close(balance.weights, expected)
    assert balance.weights.sum().item() == pytest.approx(2, abs=1e-12)


def test_the_network_learns_from_the_weights_before_the_step_and_the_weights_from_no_loss():
    net, minimised = Net([[2.4, 3.2], [0.8, 0.6]]), objective(TWO)  # norms 4 and 1
    balance = GradNorm(minimised, CONFIG, net)
    balance.backward(net.losses(minimised.names), 0)
    once = net.trunk.weight.grad.clone()
    torch.testing.assert_close(once, net.directions.sum(0, keepdim=True))
    net.zero_grad()
    before = balance.weights
    balance.backward(net.losses(minimised.names), 0)
    expected = (before @ net.directions).unsqueeze(0)
    torch.testing.assert_close(net.trunk.weight.grad, expected)


def test_gradients_are_measured_on_the_last_layer_that_all_tasks_share_and_only_there():
    class Banked(Net):
        """The last parameter holds one row of each task's own and one that both read."""

        def __init__(self):
            super().__init__([[1.0], [1.0]])
            self.trunk = nn.ParameterDict(
                {
                    "early": torch.ones(1, 1, dtype=torch.float64),
                    "late": torch.ones(3, 2, dtype=torch.float64),
                    "gate": torch.ones(2, 2, dtype=torch.float64),
                }
            )

        def losses(self, names):
            early, late, gate = (self.trunk[n] for n in ("early", "late", "gate"))
            both = late[2].sum() * early.sum()
            return {
                n: (k + 1) * both + 9 * late[k].sum() + gate[k].sum() for k, n in enumerate(names)
            }

    net, minimised = Banked(), objective(TWO)
    balance = GradNorm(minimised, CONFIG, net)
    balance.backward(net.losses(minimised.names), 0)
    shared = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    assert torch.equal(balance.state()["shared"], shared)
    norms = torch.tensor([2.0, 8.0], dtype=torch.float64).sqrt()  # |(1, 1)| and |(2, 2)|
    ones = torch.ones(2, dtype=torch.float64)
    expected = balance.moved(ones, norms, ones, ones > 0)
    torch.testing.assert_close(balance.weights, expected)


def test_a_task_without_rows_in_a_minibatch_has_no_part_in_it():
    balance = GradNorm(objective(), CONFIG, Net([[1.0], [1.0], [1.0]]))
    norms, left = torch.tensor([4.0, 1.0, 0.0]), torch.tensor([0.5, 0.8, torch.nan])
    moved = balance.moved(torch.ones(3), norms, left, torch.tensor([True, True, False]))
    torch.testing.assert_close(moved, torch.tensor([0.9, 1.025, 1.0]) * 3 / 2.925)


def test_it_comes_back_bit_for_bit():
    net, minimised = Net([[4.0, 0.0], [0.5, 1.0], [1.0, 1.0]]), objective()
    one = GradNorm(minimised, CONFIG, net)
    one.backward(net.losses(minimised.names), 0)
    other = GradNorm(minimised, CONFIG, net)
    other.restore(one.state())
    for balance in (one, other):
        balance.backward(net.losses(minimised.names), 0)
    assert torch.equal(one.weights, other.weights)


def test_a_layer_that_is_not_there_or_not_shared_is_said():
    net = Net([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    wrong = GradNormBalance(kind="gradnorm", layer="trunk.wieght")
    with pytest.raises(GradNormError, match=r"'trunk.wieght' is no parameter of the model \(emb"):
        GradNorm(objective(), wrong, net)
    alone = GradNormBalance(kind="gradnorm", layer="embedding.weight")
    balance = GradNorm(objective(TASKS), alone, net)
    with pytest.raises(GradNormError, match=r"no parameter is shared by all tasks \(embedding"):
        balance.backward(net.losses([t.name for t in TASKS]), 0)
