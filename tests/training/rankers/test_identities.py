"""Structural identities between architectures, in float64 (algorithms of Ma 2018 and Tang 2020)."""

import pytest
import torch

from tests.training.rankers.trunks import EXACT, HIDDEN, WIDTHS, blocks, made
from training.modules.blocks import Blocks
from training.rankers.adatt import AdaTT
from training.rankers.aitm import AITM
from training.rankers.cgc import CGC
from training.rankers.ml_mmoe import MLMMoE
from training.rankers.mmoe import MMoE
from training.rankers.omoe import OMoE
from training.rankers.ple import PLE
from training.rankers.shared_bottom import SharedBottom


def test_mmoe_of_one_expert_is_shared_bottom_and_its_gate_never_learns():
    mmoe = made(MMoE(WIDTHS, tasks=3, experts=1, hidden=HIDDEN))
    bottom = SharedBottom(WIDTHS, tasks=3, hidden=HIDDEN).double()
    bottom.bottom.load_state_dict(mmoe.experts.state_dict())
    x = blocks()
    out = mmoe(x)
    torch.testing.assert_close(out, bottom(x), **EXACT)
    out.square().sum().backward()
    assert torch.equal(mmoe.gate.select.weight.grad, torch.zeros_like(mmoe.gate.select.weight))


def test_equal_experts_make_the_gates_of_mmoe_irrelevant():
    mmoe = made(MMoE(WIDTHS, tasks=2, experts=3, hidden=HIDDEN))
    with torch.no_grad():
        first = mmoe.experts.first
        first.weight.copy_(first.weight[:, : HIDDEN[0]].repeat(1, 3))
        first.bias.copy_(first.bias[: HIDDEN[0]].repeat(3))
        for layer in mmoe.experts.rest:
            layer.weight.copy_(layer.weight[:1].expand(3, -1, -1))
            layer.bias.copy_(layer.bias[:1].expand(3, -1, -1))
    before = mmoe(blocks())
    torch.nn.init.normal_(mmoe.gate.select.weight)
    torch.testing.assert_close(mmoe(blocks()), before, **EXACT)


@pytest.mark.parametrize("gate", ["softmax", "attention"])
def test_cgc_without_own_experts_is_mmoe(gate):
    cgc = made(CGC(WIDTHS, tasks=3, own=0, shared=4, hidden=HIDDEN, gate=gate))
    mmoe = MMoE(WIDTHS, tasks=3, experts=4, hidden=HIDDEN, gate=gate).double()
    mmoe.experts.load_state_dict(cgc.shared.state_dict())
    mmoe.gate.load_state_dict(cgc.gate.state_dict())
    torch.testing.assert_close(cgc(blocks()), mmoe(blocks()), **EXACT)


def test_cgc_without_shared_experts_is_one_mixture_a_task():
    cgc = made(CGC(WIDTHS, tasks=2, own=3, shared=0, hidden=HIDDEN))
    x = blocks()
    before = cgc(x)
    with torch.no_grad():
        cgc.own.first.weight.unflatten(1, (2, -1))[:, 1] += 1
    after = cgc(x)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])


@pytest.mark.parametrize("gate", ["softmax", "attention"])
def test_ple_of_one_level_is_cgc(gate):
    ple = made(PLE(WIDTHS, tasks=3, levels=1, own=2, shared=2, hidden=HIDDEN, gate=gate))
    cgc = CGC(WIDTHS, tasks=3, own=2, shared=2, hidden=HIDDEN, gate=gate).double()
    cgc.load_state_dict(ple.levels[0].state_dict())
    torch.testing.assert_close(ple(blocks()), cgc(blocks()), **EXACT)


def test_cgc_is_mmoe_whose_gates_shut_out_foreign_experts():
    tasks, own, shared = 2, 2, 1
    cgc = made(CGC(WIDTHS, tasks=tasks, own=own, shared=shared, hidden=HIDDEN))
    x = blocks()
    everyone = torch.cat([cgc.own(x).flatten(1, 2), cgc.shared(x).flatten(1, 2)], dim=1)
    logits = cgc.gate.select(x)  # (B, T, own + shared)
    open_gate = torch.full((len(everyone), tasks, everyone.shape[1]), -torch.inf).double()
    for task in range(tasks):
        seen = [*range(task * own, (task + 1) * own), tasks * own]
        open_gate[:, task, seen] = logits[:, task]
    expected = torch.softmax(open_gate, dim=-1) @ everyone
    torch.testing.assert_close(cgc(x), expected, **EXACT)


def test_permuting_experts_with_their_gate_columns_changes_nothing():
    mmoe = made(MMoE(WIDTHS, tasks=2, experts=3, hidden=HIDDEN))
    x = blocks()
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
    mmoe = made(MMoE(WIDTHS, tasks=3, experts=2, hidden=HIDDEN))
    x = blocks()
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
        OMoE(WIDTHS, tasks=3, experts=2, hidden=HIDDEN),
        MMoE(WIDTHS, tasks=3, experts=2, hidden=HIDDEN),
        MMoE(WIDTHS, tasks=3, experts=2, hidden=HIDDEN, gate="attention"),
        MLMMoE(WIDTHS, tasks=3, levels=2, experts=2, hidden=HIDDEN),
        AITM(WIDTHS, tasks=3, hidden=HIDDEN),
        AdaTT(WIDTHS, tasks=3, levels=2, own=2, hidden=HIDDEN),
        CGC(WIDTHS, tasks=3, own=1, shared=2, hidden=HIDDEN),
        CGC(WIDTHS, tasks=3, own=2, shared=0, hidden=HIDDEN),
        PLE(WIDTHS, tasks=3, levels=3, own=1, shared=2, hidden=HIDDEN),
        PLE(WIDTHS, tasks=1, levels=2, own=1, shared=1, hidden=(4,)),
    ],
    ids=lambda trunk: type(trunk).__name__,
)
def test_one_row_alone_is_the_same_row_among_others(trunk):
    trunk = made(trunk)
    x = blocks(5)
    alone = Blocks(x.user[2:3], x.item[2:3], x.cross[2:3])
    assert trunk(alone).shape[0] == 1
    torch.testing.assert_close(trunk(alone), trunk(x)[2:3], **EXACT)
