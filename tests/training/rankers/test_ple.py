"""PLE: who learns from whose loss, and how many parameters there are."""

import pytest
import torch

from tests.training.rankers.trunks import EXACT, HIDDEN, blocks, changed_by, made
from training.modules.blocks import Blocks, Widths
from training.rankers.ple import PLE

WIDTHS = Widths(user=5, item=4, cross=3)


def _gradients_of_task_a(levels):
    """Gradients of the first task's output with respect to every parameter, two tasks A and B."""
    torch.manual_seed(0)
    ple = PLE(WIDTHS, tasks=2, levels=levels, own=2, shared=2, hidden=(7, 6)).double()
    for parameter in ple.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = Blocks(*(torch.randn(30, w, dtype=torch.float64) for w in WIDTHS))
    ple(x)[:, 0].square().sum().backward()
    return ple


def _of_task(layer, task, of_tasks=2):
    """One task's share of a first layer's gradient: a column range at level 1, a group later."""
    if layer.weight.dim() == 2:
        return layer.weight.grad.unflatten(1, (of_tasks, -1))[:, task]
    return layer.weight.grad[task]


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_loss_reaches_foreign_experts_below_the_last_level_and_foreign_gates_two_below(levels):
    ple = _gradients_of_task_a(levels)
    for number, level in enumerate(ple.levels, start=1):
        own, foreign = (_of_task(level.own.first, task) for task in (0, 1))
        assert own.any(), f"level {number}: A's experts learn from A"
        assert bool(foreign.any()) == (number <= levels - 1), f"level {number}: B's experts"
        gate, foreign_gate = (_of_task(level.gate.select, task) for task in (0, 1))
        assert gate.any(), f"level {number}: A's gate learns from A"
        assert bool(foreign_gate.any()) == (number <= levels - 2), f"level {number}: B's gate"
        for layer in level.own.rest:
            foreign_hidden = layer.weight.grad.unflatten(0, (2, -1))[1]
            assert bool(foreign_hidden.any()) == (number <= levels - 1)
        assert level.shared.first.weight.grad.any()
        if level.shared_gate is not None:
            assert level.shared_gate.select.weight.grad.any()


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_last_level_alone_has_no_shared_gate(levels):
    ple = PLE(WIDTHS, tasks=2, levels=levels, own=1, shared=1, hidden=(4,))
    names = [name for name, _ in ple.named_parameters() if "shared_gate" in name]
    assert names == [f"levels.{n}.shared_gate.select.weight" for n in range(levels - 1)]


@pytest.mark.parametrize(
    ("levels", "own", "shared"), [(1, 2, 0), (1, 1, 2), (2, 2, 1), (2, 0, 3), (3, 1, 2)]
)
def test_parameters_are_counted_by_the_papers_formula(levels, own, shared):
    tasks, hidden = 3, (8, 6)
    ple = PLE(WIDTHS, tasks=tasks, levels=levels, own=own, shared=shared, hidden=hidden)
    expected = 0
    for level in range(1, levels + 1):
        width = WIDTHS.total if level == 1 else hidden[-1]
        expert = (width + 1) * hidden[0] + (hidden[0] + 1) * hidden[1]
        expected += (tasks * own + shared) * expert + tasks * width * (own + shared)
        expected += width * (tasks * own + shared) if level < levels else 0
    assert sum(p.numel() for p in ple.parameters()) == expected


def test_a_step_of_one_tasks_loss_leaves_the_other_tasks_top_level_as_it_was():
    trunk = made(PLE(WIDTHS, tasks=2, levels=2, own=1, shared=1, hidden=HIDDEN))
    before = trunk.levels[1].own.first.weight[1].clone()
    names = changed_by(trunk, lambda t: t(blocks())[:, 0].square().sum())
    assert names == set(trunk.state_dict())  # every bank holds something of task A
    assert torch.equal(trunk.levels[1].own.first.weight[1], before)


@pytest.mark.parametrize("frozen", ["gate", "own", "shared"])
def test_a_step_changes_nothing_that_is_frozen(frozen):
    trunk = made(PLE(WIDTHS, tasks=2, levels=2, own=1, shared=1, hidden=HIDDEN))
    kept = {name for name, _ in trunk.named_parameters() if name.split(".")[2] == frozen}
    for name, parameter in trunk.named_parameters():
        parameter.requires_grad_(name not in kept)
    changed = changed_by(trunk, lambda t: t(blocks()).square().sum())
    assert kept
    assert changed == set(trunk.state_dict()) - kept


def test_permuting_tasks_with_all_that_is_theirs_permutes_the_outputs():
    tasks, own = 2, 2
    ple = made(PLE(WIDTHS, tasks=tasks, levels=2, own=own, shared=1, hidden=HIDDEN))
    before = ple(blocks()).flip(1)

    def flip(parameter, axis):
        parameter.copy_(parameter.unflatten(axis, (tasks, -1)).flip(axis).flatten(axis, axis + 1))

    with torch.no_grad():
        for level, columns in zip(ple.levels, (1, 0), strict=True):  # where first layers keep tasks
            flip(level.own.first.weight, columns)
            flip(level.own.first.bias, 0)
            flip(level.gate.select.weight, columns)
            for layer in level.own.rest:
                flip(layer.weight, 0)
                flip(layer.bias, 0)
        of_own = ple.levels[0].shared_gate.select.weight[:, : tasks * own]
        flip(of_own, 1)
    torch.testing.assert_close(ple(blocks()), before, **EXACT)
