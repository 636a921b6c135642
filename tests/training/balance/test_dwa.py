"""DWA's weights: sum, equal ratios, temperature, the first two epochs."""

import math

import pytest
import torch

from tests.training.balance.losses import Net, objective
from training.balance.dwa import DWA
from training.config.balance import DWABalance


def _after(epochs, temperature=2.0):
    """A balance that has seen epochs of losses (each a list of minibatches)."""
    minimised = objective()
    balance = DWA(minimised, DWABalance(kind="dwa", temperature=temperature))
    for epoch, minibatches in enumerate([*epochs, [[1.0, 1.0, 1.0]]]):
        for losses in minibatches:
            net = Net([[loss] for loss in losses])
            balance.backward(net.losses(minimised.names), epoch)
    return balance


def test_the_first_two_epochs_weigh_all_tasks_alike():
    for seen in ([], [[[1.0, 2.0, 3.0]]]):
        assert torch.equal(_after(seen).weights(), torch.ones(3, dtype=torch.float64))


def test_weights_are_the_softmax_of_the_ratios_of_epoch_means():
    first, second = [[1.0, 2.0, 4.0], [3.0, 2.0, 4.0]], [[1.0, 1.0, 4.0]]
    ratios = [1 / 2, 1 / 2, 1.0]
    weights = _after([first, second]).weights()
    powers = [math.exp(r / 2.0) for r in ratios]
    assert weights.tolist() == pytest.approx([3 * p / sum(powers) for p in powers], abs=1e-12)
    assert weights.sum().item() == pytest.approx(3, abs=1e-12)


def test_equal_ratios_or_a_high_temperature_weigh_all_tasks_alike():
    ones = torch.ones(3, dtype=torch.float64)
    halved = _after([[[1.0, 2.0, 4.0]], [[0.5, 1.0, 2.0]]]).weights()
    torch.testing.assert_close(halved, ones, atol=1e-12, rtol=0)
    flat = _after([[[1.0, 2.0, 4.0]], [[0.1, 1.9, 4.0]]], temperature=1e9).weights()
    torch.testing.assert_close(flat, ones, atol=1e-8, rtol=0)


def test_a_minibatch_without_rows_of_a_task_is_not_in_its_mean():
    first, second = [[2.0, 1.0, 1.0]], [[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]
    ratio = _after([first, second])
    assert ratio.weights().tolist() == _after([first, [[1.0, 1.0, 1.0]]]).weights().tolist()


def test_a_run_that_continues_in_the_middle_of_an_epoch_repeats_itself():
    whole = _after([[[1.0, 2.0, 4.0]], [[0.5, 1.5, 4.0], [0.6, 1.0, 4.0]]])
    minimised = objective()
    config = DWABalance(kind="dwa")
    killed = DWA(minimised, config)
    for epoch, losses in [(0, [1.0, 2.0, 4.0]), (1, [0.5, 1.5, 4.0])]:
        killed.backward(Net([[x] for x in losses]).losses(minimised.names), epoch)
    again = DWA(minimised, config)
    again.restore(killed.state())
    for epoch, losses in [(1, [0.6, 1.0, 4.0]), (2, [1.0, 1.0, 1.0])]:
        again.backward(Net([[x] for x in losses]).losses(minimised.names), epoch)
    assert torch.equal(again.weights(), whole.weights())
