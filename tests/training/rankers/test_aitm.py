"""AITM: the attention between a task and the one before it, as the paper writes it."""

import math

import pytest
import torch

from tests.training.rankers.trunks import (
    EXACT,
    EXPERT,
    HIDDEN,
    WIDTHS,
    blocks,
    changed_by,
    made,
    size,
)
from training.rankers.aitm import AITM


def test_chain_is_the_papers_loop():
    trunk, x = made(AITM(WIDTHS, tasks=3, hidden=HIDDEN)), blocks()
    q = trunk.towers(x)[:, :, 0]
    m1, m2, m3 = trunk.attend.weight[0].chunk(3, dim=1)
    z = [q[:, 0]]
    for t in (1, 2):
        g = trunk.transfer[t - 1]
        p = torch.relu(z[-1] @ g.weight[0] + g.bias[0, 0])
        e = [((u @ m2) * (u @ m3)).sum(1) / math.sqrt(HIDDEN[-1]) for u in (p, q[:, t])]
        w = torch.softmax(torch.stack(e), dim=0)
        z.append(w[0, :, None] * (p @ m1) + w[1, :, None] * (q[:, t] @ m1))
    torch.testing.assert_close(trunk(x), torch.stack(z, dim=1), **EXACT)


def test_a_task_that_is_told_what_it_knows_weighs_both_alike():
    trunk, width = made(AITM(WIDTHS, tasks=2, hidden=HIDDEN)), HIDDEN[-1]
    with torch.no_grad():
        first = trunk.towers.first
        first.weight.copy_(first.weight[:, : HIDDEN[0]].repeat(1, 2))
        first.bias.copy_(first.bias[: HIDDEN[0]].repeat(2))
        for layer in trunk.towers.rest:
            layer.weight[1], layer.bias[1] = layer.weight[0], layer.bias[0]
        trunk.transfer[0].weight.copy_(torch.eye(width)[None])  # p = relu(q) = q
        trunk.transfer[0].bias.zero_()
    weights = trunk.mixtures(blocks())["transfer"]
    torch.testing.assert_close(weights[:, 1], torch.full_like(weights[:, 1], 0.5), **EXACT)
    own = trunk.towers(blocks())[:, 0, 0]
    h1 = own @ trunk.attend.weight[0, :, :width]
    torch.testing.assert_close(trunk(blocks())[:, 1], h1, **EXACT)


@pytest.mark.parametrize(
    ("task", "towers", "transfers"), [(0, {0}, set()), (1, {0, 1}, {0}), (2, {0, 1, 2}, {0, 1})]
)
def test_a_loss_reaches_all_earlier_tasks_and_no_later_one(task, towers, transfers):
    trunk = made(AITM(WIDTHS, tasks=3, hidden=HIDDEN))
    trunk(blocks())[:, task].square().sum().backward()
    of_task = trunk.towers.first.weight.grad.unflatten(1, (3, -1))
    assert {t for t in range(3) if of_task[:, t].any()} == towers
    assert {t for t, layer in enumerate(trunk.transfer) if layer.weight.grad.any()} == transfers
    assert bool(trunk.attend.weight.grad.any()) == (task > 0)


def test_the_first_task_takes_from_nobody():
    weights = made(AITM(WIDTHS, tasks=3, hidden=HIDDEN)).mixtures(blocks())["transfer"]
    assert weights[:, 0].eq(torch.tensor([0.0, 1.0])).all()
    torch.testing.assert_close(weights.sum(2), torch.ones(9, 3, dtype=torch.float64))


def test_one_task_alone_is_its_own_network():
    trunk = made(AITM(WIDTHS, tasks=1, hidden=HIDDEN))
    assert torch.equal(trunk(blocks()), trunk.towers(blocks())[:, :, 0])
    assert trunk.mixtures(blocks())["transfer"].shape == (9, 1, 2)


@pytest.mark.parametrize("tasks", [2, 4])
def test_parameters_are_counted(tasks):
    h = HIDDEN[-1]
    expected = tasks * EXPERT + (tasks - 1) * (h + 1) * h + 3 * h * h
    assert size(AITM(WIDTHS, tasks=tasks, hidden=HIDDEN)) == expected


def test_a_step_of_the_first_task_changes_its_tower_alone():
    trunk = made(AITM(WIDTHS, tasks=2, hidden=HIDDEN))
    names = changed_by(trunk, lambda t: t(blocks())[:, 0].square().sum())
    assert names == {name for name in trunk.state_dict() if name.startswith("towers.")}
