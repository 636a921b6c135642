"""Structural identities between architectures, in float64 (algorithms of Ma 2018 and Tang 2020)."""

import pytest
import torch

from training.modules.blocks import Blocks, Widths
from training.rankers.cgc import CGC
from training.rankers.mmoe import MMoE
from training.rankers.ple import PLE
from training.rankers.shared_bottom import SharedBottom

WIDTHS = Widths(user=5, item=4, cross=3)
HIDDEN = (8, 6)
EXACT = {"rtol": 0, "atol": 1e-12}


def _blocks(rows=9):
    random = torch.Generator().manual_seed(0)
    return Blocks(*(torch.randn(rows, w, generator=random, dtype=torch.float64) for w in WIDTHS))


def _made(trunk):
    """In float64, with every parameter away from its initial value, biases too."""
    torch.manual_seed(1)
    for parameter in trunk.double().parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return trunk


def test_mmoe_of_one_expert_is_shared_bottom_and_its_gate_never_learns():
    mmoe = _made(MMoE(WIDTHS, tasks=3, experts=1, hidden=HIDDEN))
    bottom = SharedBottom(WIDTHS, tasks=3, hidden=HIDDEN).double()
    bottom.bottom.load_state_dict(mmoe.experts.state_dict())
    x = _blocks()
    out = mmoe(x)
    torch.testing.assert_close(out, bottom(x), **EXACT)
    out.square().sum().backward()
    assert torch.equal(mmoe.gate.select.weight.grad, torch.zeros_like(mmoe.gate.select.weight))


def test_cgc_without_own_experts_is_mmoe():
    cgc = _made(CGC(WIDTHS, tasks=3, own=0, shared=4, hidden=HIDDEN))
    mmoe = MMoE(WIDTHS, tasks=3, experts=4, hidden=HIDDEN).double()
    mmoe.experts.load_state_dict(cgc.shared.state_dict())
    mmoe.gate.load_state_dict(cgc.gate.state_dict())
    torch.testing.assert_close(cgc(_blocks()), mmoe(_blocks()), **EXACT)


def test_cgc_without_shared_experts_is_one_mixture_a_task():
    cgc = _made(CGC(WIDTHS, tasks=2, own=3, shared=0, hidden=HIDDEN))
    x = _blocks()
    before = cgc(x)
    with torch.no_grad():
        cgc.own.first.weight.unflatten(1, (2, -1))[:, 1] += 1
    after = cgc(x)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])


def test_ple_of_one_level_is_cgc():
    ple = _made(PLE(WIDTHS, tasks=3, levels=1, own=2, shared=2, hidden=HIDDEN))
    cgc = CGC(WIDTHS, tasks=3, own=2, shared=2, hidden=HIDDEN).double()
    cgc.load_state_dict(ple.levels[0].state_dict())
    torch.testing.assert_close(ple(_blocks()), cgc(_blocks()), **EXACT)


def test_cgc_is_mmoe_whose_gates_shut_out_foreign_experts():
    tasks, own, shared = 2, 2, 1
    cgc = _made(CGC(WIDTHS, tasks=tasks, own=own, shared=shared, hidden=HIDDEN))
    x = _blocks()
    everyone = torch.cat([cgc.own(x).flatten(1, 2), cgc.shared(x).flatten(1, 2)], dim=1)
    logits = cgc.gate.select(x)  # (B, T, own + shared)
    open_gate = torch.full((len(everyone), tasks, everyone.shape[1]), -torch.inf).double()
    for task in range(tasks):
        seen = [*range(task * own, (task + 1) * own), tasks * own]
        open_gate[:, task, seen] = logits[:, task]
    expected = torch.softmax(open_gate, dim=-1) @ everyone
    torch.testing.assert_close(cgc(x), expected, **EXACT)


def test_permuting_experts_with_their_gate_columns_changes_nothing():
    mmoe = _made(MMoE(WIDTHS, tasks=2, experts=3, hidden=HIDDEN))
    x = _blocks()
    before = mmoe(x)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        first, gate = mmoe.experts.first, mmoe.gate.select
        first.weight.copy_(first.weight.unflatten(1, (3, -1))[:, order].flatten(1))
        first.bias.copy_(first.bias.unflatten(0, (3, -1))[order].flatten())
        for layer in mmoe.experts.rest:
            layer.weight.copy_(layer.weight[order])
            layer.bias.copy_(layer.bias[order])
        gate.weight.copy_(gate.weight.unflatten(1, (2, 3))[:, :, order].flatten(1))
    torch.testing.assert_close(mmoe(x), before, **EXACT)


def test_permuting_tasks_with_their_gates_permutes_the_outputs():
    mmoe = _made(MMoE(WIDTHS, tasks=3, experts=2, hidden=HIDDEN))
    x = _blocks()
    before = mmoe(x)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        gate = mmoe.gate.select
        gate.weight.copy_(gate.weight.unflatten(1, (3, 2))[:, order].flatten(1))
    torch.testing.assert_close(mmoe(x), before[:, order], **EXACT)


@pytest.mark.parametrize(
    "trunk",
    [
        SharedBottom(WIDTHS, tasks=3, hidden=HIDDEN),
        MMoE(WIDTHS, tasks=3, experts=2, hidden=HIDDEN),
        CGC(WIDTHS, tasks=3, own=1, shared=2, hidden=HIDDEN),
        CGC(WIDTHS, tasks=3, own=2, shared=0, hidden=HIDDEN),
        PLE(WIDTHS, tasks=3, levels=3, own=1, shared=2, hidden=HIDDEN),
        PLE(WIDTHS, tasks=1, levels=2, own=1, shared=1, hidden=(4,)),
    ],
    ids=lambda trunk: type(trunk).__name__,
)
def test_one_row_alone_is_the_same_row_among_others(trunk):
    trunk = _made(trunk)
    x = _blocks(5)
    alone = Blocks(x.user[2:3], x.item[2:3], x.cross[2:3])
    assert trunk(alone).shape[0] == 1
    torch.testing.assert_close(trunk(alone), trunk(x)[2:3], **EXACT)
