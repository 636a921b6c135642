"""deepctr-torch 0.3.0, weight for weight in float64: PLE with equal expert counts and plain gates.

It builds as many shared experts as own ones whatever is asked for, and its default gates have a
hidden layer (`gate_dnn_hidden_units=()` is the paper's). Its towers' last layer has no bias.
"""

import sys
from types import SimpleNamespace

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
    set_tower,
)
from training.modules.tower_bank import TowerBank
from training.rankers.ple import PLE

pytestmark = pytest.mark.filterwarnings("ignore")

HIDDEN, TOWER = (8, 6), (4,)


@pytest.fixture
def deepctr(monkeypatch):
    # On import it asks the package index for a newer version, in a thread: answer "nothing found".
    answer = SimpleNamespace(status_code=404, codes=SimpleNamespace(ok=200))
    quiet = SimpleNamespace(get=lambda url: answer, codes=answer.codes)
    monkeypatch.setitem(sys.modules, "requests", quiet)
    pytest.importorskip("deepctr_torch", reason="needs the extra `peers`")
    from deepctr_torch.inputs import DenseFeat
    from deepctr_torch.models import PLE as theirs

    def build(levels, experts):
        model = theirs(
            [DenseFeat("x", WIDTHS.total)],
            shared_expert_num=experts,
            specific_expert_num=experts,
            num_levels=levels,
            expert_dnn_hidden_units=HIDDEN,
            gate_dnn_hidden_units=(),
            tower_dnn_hidden_units=TOWER,
            task_types=["regression"] * TASKS,
            task_names=[f"task{n}" for n in range(TASKS)],
        )
        return away_from_start(model)

    return build


def _layers(dnn):
    return [of_linear(linear) for linear in dnn.linears]


@pytest.mark.parametrize(("levels", "experts"), [(1, 1), (2, 2), (3, 2)])
def test_ple_gives_deepctr_torchs_logits(deepctr, levels, experts):
    theirs = deepctr(levels, experts)
    ours = PLE(
        WIDTHS, tasks=TASKS, levels=levels, own=experts, shared=experts, hidden=HIDDEN
    ).double()
    for number, level in enumerate(ours.levels):
        for task in range(TASKS):
            for expert, dnn in enumerate(theirs.specific_experts[number][task]):
                set_expert(level.own, task, expert, _layers(dnn))
            gate = theirs.specific_gate_dnn_final_layer[number][task]
            set_gate(level.gate, task, of_linear(gate))
        for expert, dnn in enumerate(theirs.shared_experts[number][0]):
            set_expert(level.shared, 0, expert, _layers(dnn))
        if level.shared_gate is not None:
            set_gate(level.shared_gate, 0, of_linear(theirs.shared_gate_dnn_final_layer[number]))
    towers = TowerBank(tasks=TASKS, width_in=HIDDEN[-1], hidden=TOWER).double()
    for task in range(TASKS):
        final: nn.Linear = theirs.tower_dnn_final_layer[task]
        weight, _ = of_linear(final)
        out = (weight, theirs.out[task].bias.detach())
        set_tower(towers, task, [*_layers(theirs.tower_dnn[task]), out])
    x = rows()
    with torch.no_grad():
        torch.testing.assert_close(towers(ours(blocks(x))), theirs(x), **EXACT)
