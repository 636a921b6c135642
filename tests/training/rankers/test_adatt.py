"""AdaTT-sp: fusion of all tasks' experts plus a residual of a task's own."""

import pytest
import torch

from tests.training.rankers.trunks import (
    EXACT,
    EXPERT,
    HIDDEN,
    LATER_EXPERT,
    WIDTHS,
    blocks,
    made,
    size,
)
from training.rankers.adatt import AdaTT
from training.rankers.mmoe import MMoE


@pytest.mark.parametrize("gate", ["softmax", "attention"])
def test_without_residual_one_level_of_one_expert_a_task_is_mmoe(gate):
    arguments = {"tasks": 3, "hidden": HIDDEN, "gate": gate}
    adatt = made(AdaTT(WIDTHS, levels=1, own=1, residual=False, **arguments))
    mmoe = MMoE(WIDTHS, experts=3, **arguments).double()
    mmoe.experts.load_state_dict(adatt.levels[0].experts.state_dict())
    mmoe.gate.load_state_dict(adatt.levels[0].gate.state_dict())
    torch.testing.assert_close(adatt(blocks()), mmoe(blocks()), **EXACT)


def test_levels_are_a_loop_over_tasks():
    tasks, own = 3, 2
    trunk, x = made(AdaTT(WIDTHS, tasks=tasks, levels=2, own=own, hidden=HIDDEN)), blocks()
    z = [x.whole] * tasks
    for level in trunk.levels:
        experts = level.experts(x if z[0] is x.whole else torch.stack(z, dim=1))  # (B, T, own, H)
        every = [experts[:, t, e] for t in range(tasks) for e in range(own)]
        select, out = level.gate.select.weight, []
        for k in range(tasks):
            of_k = select.unflatten(1, (tasks, -1))[:, k] if select.dim() == 2 else select[k]
            w = torch.softmax(z[k] @ of_k, dim=1)
            fused = sum(w[:, p, None] * every[p] for p in range(tasks * own))
            out.append(fused + sum(level.own_weights[k, e] * experts[:, k, e] for e in range(own)))
        z = out
    torch.testing.assert_close(trunk(x), torch.stack(z, dim=1), **EXACT)


def test_one_expert_a_task_is_added_as_it_is():
    arguments = {"tasks": 2, "levels": 1, "own": 1, "hidden": HIDDEN}
    trunk, without = made(AdaTT(WIDTHS, **arguments)), AdaTT(WIDTHS, residual=False, **arguments)
    without.double().load_state_dict(trunk.state_dict())
    own = trunk.levels[0].experts(blocks())[:, :, 0]
    torch.testing.assert_close(trunk(blocks()), without(blocks()) + own, **EXACT)


@pytest.mark.parametrize(("levels", "own", "residual"), [(1, 1, True), (2, 3, True), (2, 3, False)])
def test_parameters_are_counted(levels, own, residual):
    tasks = 2
    trunk = AdaTT(WIDTHS, tasks=tasks, levels=levels, own=own, hidden=HIDDEN, residual=residual)
    experts = tasks * own * (EXPERT + (levels - 1) * LATER_EXPERT)
    gates = tasks * tasks * own * (WIDTHS.total + (levels - 1) * HIDDEN[-1])
    assert size(trunk) == experts + gates + (levels * tasks * own if residual and own > 1 else 0)


def test_permuting_tasks_with_their_experts_and_gates_permutes_the_outputs():
    trunk, x = made(AdaTT(WIDTHS, tasks=2, levels=1, own=2, hidden=HIDDEN)), blocks()
    before = trunk(x).flip(1)
    level = trunk.levels[0]
    with torch.no_grad():
        first = level.experts.first
        first.weight.copy_(first.weight.unflatten(1, (2, -1)).flip(1).flatten(1))
        first.bias.copy_(first.bias.unflatten(0, (2, -1)).flip(0).flatten())
        for layer in level.experts.rest:
            layer.weight.copy_(layer.weight.unflatten(0, (2, 2)).flip(0).flatten(0, 1))
            layer.bias.copy_(layer.bias.unflatten(0, (2, 2)).flip(0).flatten(0, 1))
        gate = level.gate.select.weight
        gate.copy_(gate.unflatten(1, (2, 2, 2)).flip(1, 2).flatten(1))
        level.own_weights.copy_(level.own_weights.flip(0))
    torch.testing.assert_close(trunk(x), before, **EXACT)
