"""LibMTL 1.1.5, weight for weight in float64: its MMoE and CGC (its PLE is not the paper's).

Experts stand shared first there, own first here; its gates have a bias, set to 0 as in the papers.
"""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from tests.training.oracles.weights import (
    EXACT,
    TASKS,
    WIDTHS,
    away_from_start,
    blocks,
    of_linear,
    rows,
    set_expert,
    set_gate,
)
from training.rankers.cgc import CGC
from training.rankers.mmoe import MMoE

pytestmark = pytest.mark.filterwarnings("ignore")

HIDDEN = (8, 6)
NAMES = [f"task{n}" for n in range(TASKS)]


@pytest.fixture
def libmtl(monkeypatch):
    # Its image models import a helper that torchvision has dropped since; none of them is used.
    for name in ("torchvision", "torchvision.models", "torchvision.models.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["torchvision.models.utils"].load_state_dict_from_url = None
    pytest.importorskip("LibMTL", reason="needs the extra `peers`")
    from LibMTL import architecture

    def build(name, num_experts):
        model = getattr(architecture, name)(
            NAMES,
            lambda: nn.Sequential(
                nn.Linear(WIDTHS.total, HIDDEN[0]), nn.ReLU(), nn.Linear(*HIDDEN), nn.ReLU()
            ),
            nn.ModuleDict({name: nn.Identity() for name in NAMES}),
            False,
            False,
            torch.device("cpu"),
            img_size=[WIDTHS.total],
            num_experts=num_experts,
        )
        away_from_start(model)
        for gate in model.gate_specific.values():
            nn.init.zeros_(gate[0].bias)
        return model

    return build


def _layers(expert):
    return [of_linear(layer) for layer in expert if isinstance(layer, nn.Linear)]


def _agree(theirs, ours):
    x = rows()
    with torch.no_grad():
        expected = torch.stack(list(theirs(x).values()), dim=1)
        torch.testing.assert_close(ours(blocks(x)), expected, **EXACT)


def test_mmoe_gives_libmtls_representations(libmtl):
    theirs = libmtl("MMoE", [4])
    ours = MMoE(WIDTHS, tasks=TASKS, experts=4, hidden=HIDDEN).double()
    for number, expert in enumerate(theirs.experts_shared):
        set_expert(ours.experts, 0, number, _layers(expert))
    for task, name in enumerate(NAMES):
        set_gate(ours.gate, task, of_linear(theirs.gate_specific[name][0]))
    _agree(theirs, ours)


@pytest.mark.parametrize(("own", "shared"), [(2, 1), (1, 3)])
def test_cgc_gives_libmtls_representations(libmtl, own, shared):
    theirs = libmtl("CGC", [shared] + [own] * TASKS)
    ours = CGC(WIDTHS, tasks=TASKS, own=own, shared=shared, hidden=HIDDEN).double()
    for number, expert in enumerate(theirs.experts_shared):
        set_expert(ours.shared, 0, number, _layers(expert))
    for task, name in enumerate(NAMES):
        for number, expert in enumerate(theirs.experts_specific[name]):
            set_expert(ours.own, task, number, _layers(expert))
        weight, bias = of_linear(theirs.gate_specific[name][0])
        own_first = [*range(shared, shared + own), *range(shared)]
        set_gate(ours.gate, task, (weight[:, own_first], bias[own_first]))
    _agree(theirs, ours)
