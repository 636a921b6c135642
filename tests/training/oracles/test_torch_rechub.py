"""torch-rechub 0.9.0, weight for weight in float64: same logits, same gradients.

Its gates are Linear -> BatchNorm1d -> softmax; in evaluation mode the norm folds into the linear
map, and the folded bias is set to 0 because the papers' gates (and ours) have none.
"""

import pytest
import torch

from tests.training.oracles.weights import (
    EXACT,
    EXACT_GRADIENT,
    ROWS,
    TASKS,
    WIDTHS,
    away_from_start,
    blocks,
    folded,
    of_linear,
    set_expert,
    set_gate,
    set_tower,
)
from training.modules.tower_bank import TowerBank
from training.rankers.mmoe import MMoE
from training.rankers.ple import PLE
from training.rankers.shared_bottom import SharedBottom

pytestmark = pytest.mark.filterwarnings("ignore")

HIDDEN, TOWER = (8, 6), (4,)


@pytest.fixture
def rechub():
    pytest.importorskip("torch_rechub", reason="needs the extra `peers`")
    from torch_rechub.basic.features import SparseFeature
    from torch_rechub.models import multi_task

    def build(name, **arguments):
        # Its dense features are cast to float32, so the rows come as an embedding table.
        features = [SparseFeature("row", vocab_size=ROWS, embed_dim=WIDTHS.total)]
        towers = [{"dims": list(TOWER)}] * TASKS
        kinds = ["regression"] * TASKS  # logits: its classification is their sigmoid
        model = getattr(multi_task, name)(features, kinds, **arguments, tower_params_list=towers)
        away_from_start(model)
        for part_name, part in model.named_modules():
            if _is_gate(part_name):
                _without_bias(part)
        return model

    return build


def _is_gate(name):
    return name.endswith("mlp") and "gate" in name


def _without_bias(mlp):
    """Choose the norm's shift so that the folded gate has no bias."""
    linear, norm = mlp[0], mlp[1]
    with torch.no_grad():
        norm.bias.zero_()
        norm.bias.sub_(folded(linear, norm)[1])


def _layers(mlp):
    """An MLP of theirs (Linear, BatchNorm1d, activation, Dropout, …, perhaps Linear) as affines."""
    parts, at, found = list(mlp.mlp), 0, []
    while at < len(parts):
        if at + 1 < len(parts):
            found.append(folded(parts[at], parts[at + 1]))
            at += 4
        else:
            found.append(of_linear(parts[at]))
            at += 1
    return found


def _towers(model):
    towers = TowerBank(tasks=TASKS, width_in=HIDDEN[-1], hidden=TOWER).double()
    for task, tower in enumerate(model.towers):
        set_tower(towers, task, _layers(tower))
    return towers


def _agree(theirs, trunk, towers):
    table = theirs.embedding.embed_dict["row"].weight
    x = table.detach().clone().requires_grad_()
    expected, ours = theirs({"row": torch.arange(ROWS)}), towers(trunk(blocks(x)))
    torch.testing.assert_close(ours, expected, **EXACT)
    weights = torch.arange(1, TASKS + 1, dtype=torch.float64)
    (expected * weights).square().sum().backward()
    (ours * weights).square().sum().backward()
    torch.testing.assert_close(x.grad, table.grad, **EXACT_GRADIENT)


def test_shared_bottom_gives_torch_rechubs_logits(rechub):
    theirs = rechub("SharedBottom", bottom_params={"dims": list(HIDDEN)})
    ours = SharedBottom(WIDTHS, tasks=TASKS, hidden=HIDDEN).double()
    set_expert(ours.bottom, 0, 0, _layers(theirs.bottom_mlp))
    _agree(theirs, ours, _towers(theirs))


def test_mmoe_gives_torch_rechubs_logits(rechub):
    theirs = rechub("MMOE", n_expert=4, expert_params={"dims": list(HIDDEN)})
    ours = MMoE(WIDTHS, tasks=TASKS, experts=4, hidden=HIDDEN).double()
    for number, expert in enumerate(theirs.experts):
        set_expert(ours.experts, 0, number, _layers(expert))
    for task, gate in enumerate(theirs.gates):
        set_gate(ours.gate, task, *_layers(gate))
    _agree(theirs, ours, _towers(theirs))


@pytest.mark.parametrize(("levels", "own", "shared"), [(1, 2, 1), (2, 2, 3), (3, 1, 2)])
def test_ple_gives_torch_rechubs_logits(rechub, levels, own, shared):
    theirs = rechub(
        "PLE",
        n_level=levels,
        n_expert_specific=own,
        n_expert_shared=shared,
        expert_params={"dims": list(HIDDEN)},
    )
    ours = PLE(WIDTHS, tasks=TASKS, levels=levels, own=own, shared=shared, hidden=HIDDEN).double()
    for level, layer in zip(ours.levels, theirs.cgc_layers, strict=True):
        for number, expert in enumerate(layer.experts_specific):
            set_expert(level.own, *divmod(number, own), _layers(expert))
        for number, expert in enumerate(layer.experts_shared):
            set_expert(level.shared, 0, number, _layers(expert))
        for task, gate in enumerate(layer.gates_specific):
            set_gate(level.gate, task, *_layers(gate))
        if level.shared_gate is not None:
            set_gate(level.shared_gate, 0, *_layers(layer.gate_shared))
    _agree(theirs, ours, _towers(theirs))
