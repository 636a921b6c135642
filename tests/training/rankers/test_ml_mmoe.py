"""ML-MMoE: every gate reads the raw input; one level is MMoE."""

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
from training.modules.blocks import Blocks
from training.rankers.ml_mmoe import MLMMoE
from training.rankers.mmoe import MMoE


@pytest.mark.parametrize("gate", ["softmax", "attention"])
def test_one_level_is_mmoe(gate):
    arguments = {"tasks": 2, "experts": 3, "hidden": HIDDEN, "gate": gate}
    many = made(MLMMoE(WIDTHS, levels=1, **arguments))
    mmoe = MMoE(WIDTHS, **arguments).double()
    mmoe.experts.load_state_dict(many.first.state_dict())
    mmoe.gate.load_state_dict(many.gate.state_dict())
    torch.testing.assert_close(many(blocks()), mmoe(blocks()), **EXACT)


def test_levels_are_a_loop_over_experts():
    trunk, x = made(MLMMoE(WIDTHS, tasks=2, levels=3, experts=4, hidden=HIDDEN)), blocks()
    pool = trunk.first(x)[:, 0]  # (B, E, H)
    for gate, experts in zip(trunk.between, trunk.above, strict=True):
        weights = torch.softmax((x.whole @ gate.select.weight).unflatten(1, (4, 4)), dim=2)
        out = []
        for i in range(4):
            z = sum(weights[:, i, e, None] * pool[:, e] for e in range(4))
            hidden = torch.relu(z @ experts.first.weight[i] + experts.first.bias[i, 0])
            rest = experts.rest[0]
            out.append(torch.relu(hidden @ rest.weight[i] + rest.bias[i, 0]))
        pool = torch.stack(out, dim=1)
    weights = torch.softmax((x.whole @ trunk.gate.select.weight).unflatten(1, (2, 4)), dim=2)
    torch.testing.assert_close(trunk(x), weights @ pool, **EXACT)


def test_gates_of_upper_levels_read_the_input_and_not_the_level_below():
    trunk = made(MLMMoE(WIDTHS, tasks=2, levels=2, experts=3, hidden=HIDDEN))
    before = trunk.mixtures(blocks())["level 2"]
    with torch.no_grad():
        for parameter in (*trunk.first.parameters(), *trunk.between.parameters()):
            parameter += 1
    assert torch.equal(trunk.mixtures(blocks())["level 2"], before)
    x = blocks()
    moved = Blocks(x.user + 1, x.item, x.cross)
    assert not torch.equal(trunk.mixtures(moved)["level 2"], before)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_parameters_are_counted(levels):
    trunk = MLMMoE(WIDTHS, tasks=2, levels=levels, experts=4, hidden=HIDDEN)
    gates = WIDTHS.total * 4 * (4 * (levels - 1) + 2)
    assert size(trunk) == 4 * EXPERT + (levels - 1) * 4 * LATER_EXPERT + gates


def test_permuting_upper_experts_with_their_gates_changes_nothing():
    trunk, x = made(MLMMoE(WIDTHS, tasks=2, levels=2, experts=3, hidden=HIDDEN)), blocks()
    before, order = trunk(x), torch.tensor([2, 0, 1])
    with torch.no_grad():
        between, above = trunk.between[0].select.weight, trunk.above[0]
        between.copy_(between.unflatten(1, (3, 3))[:, order].flatten(1))
        for layer in (above.first, *above.rest):
            layer.weight.copy_(layer.weight[order])
            layer.bias.copy_(layer.bias[order])
        last = trunk.gate.select.weight
        last.copy_(last.unflatten(1, (2, 3))[:, :, order].flatten(1))
    torch.testing.assert_close(trunk(x), before, **EXACT)
