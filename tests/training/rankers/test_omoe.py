"""OMoE: MMoE whose tasks share one gate."""

import pytest
import torch

from tests.training.rankers.trunks import EXACT, EXPERT, HIDDEN, WIDTHS, blocks, made, size
from training.rankers.mmoe import MMoE
from training.rankers.omoe import OMoE


@pytest.mark.parametrize("gate", ["softmax", "attention"])
def test_omoe_is_mmoe_with_tied_gates(gate):
    omoe = made(OMoE(WIDTHS, tasks=3, experts=4, hidden=HIDDEN, gate=gate))
    mmoe = MMoE(WIDTHS, tasks=3, experts=4, hidden=HIDDEN, gate=gate).double()
    tied = omoe.mixture.state_dict()
    first = "gate.select.weight" if gate == "softmax" else "gate.query.weight"
    tied[first] = tied[first].repeat(1, 3)
    mmoe.load_state_dict(tied)
    torch.testing.assert_close(omoe(blocks()), mmoe(blocks()), **EXACT)


def test_all_tasks_read_the_same():
    out = made(OMoE(WIDTHS, tasks=3, experts=2, hidden=HIDDEN))(blocks())
    assert out.shape == (9, 3, HIDDEN[-1])
    assert torch.equal(out, out[:, :1].expand(-1, 3, -1))


def test_parameters_do_not_grow_with_the_tasks():
    for tasks in (1, 5):
        omoe = OMoE(WIDTHS, tasks=tasks, experts=4, hidden=HIDDEN)
        assert size(omoe) == 4 * EXPERT + WIDTHS.total * 4
