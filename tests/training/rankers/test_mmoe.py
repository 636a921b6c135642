"""MMoE and Shared-Bottom: how many parameters there are, and whose loss moves what."""

import pytest
import torch

from tests.training.rankers.trunks import EXPERT, HIDDEN, WIDTHS, blocks, changed_by, made, size
from training.modules.blocks import Widths
from training.rankers.mmoe import MMoE
from training.rankers.shared_bottom import SharedBottom


@pytest.mark.parametrize(("tasks", "experts"), [(1, 1), (2, 8), (5, 3)])
def test_parameters_are_counted(tasks, experts):
    mmoe = MMoE(WIDTHS, tasks=tasks, experts=experts, hidden=HIDDEN)
    assert size(mmoe) == experts * EXPERT + tasks * WIDTHS.total * experts
    assert size(SharedBottom(WIDTHS, tasks=tasks, hidden=HIDDEN)) == EXPERT


def test_attention_counts_a_query_a_task_and_one_key():
    h = HIDDEN[-1]
    mmoe = MMoE(WIDTHS, tasks=3, experts=4, hidden=HIDDEN, gate="attention")
    assert size(mmoe) == 4 * EXPERT + 3 * WIDTHS.total * h + h * h


def test_the_papers_shared_bottom_has_as_many_weights_as_its_mmoe():
    """Ma et al., KDD 2018, section 5.1: 100 inputs, 8 experts of 16, towers of 8: width 113."""
    inputs = Widths(100, 0, 0)
    experts = MMoE(inputs, tasks=2, experts=8, hidden=(16,)).experts
    bottom = SharedBottom(inputs, tasks=2, hidden=(113,))
    towers = {16: 2 * 16 * 8, 113: 2 * 113 * 8}
    theirs = experts.first.weight.numel() + towers[16]
    ours = bottom.bottom.first.weight.numel() + towers[113]
    assert theirs == 13056
    assert abs(ours - theirs) / theirs < 0.005


def test_a_tasks_loss_moves_all_experts_and_its_own_gate_alone():
    mmoe = made(MMoE(WIDTHS, tasks=2, experts=3, hidden=HIDDEN))
    gate = mmoe.gate.select.weight.clone().unflatten(1, (2, -1))
    changed = changed_by(mmoe, lambda m: m(blocks())[:, 0].square().sum())
    assert changed == set(mmoe.state_dict())
    after = mmoe.gate.select.weight.unflatten(1, (2, -1))
    assert torch.equal(after[:, 1], gate[:, 1])
    assert not torch.equal(after[:, 0], gate[:, 0])
