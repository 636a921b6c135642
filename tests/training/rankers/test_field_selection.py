"""A feature-selection gate: one softmax a task over the fields, then the trunk as it was."""

import pytest
import torch

from tests.training.rankers.trunks import EXACT, HIDDEN, LAYOUT, WIDTHS, blocks, made
from training.modules.linear import BlockLinear
from training.rankers.adatt import AdaTT
from training.rankers.cgc import CGC
from training.rankers.field_selection import FieldSelection
from training.rankers.ml_mmoe import MLMMoE
from training.rankers.mmoe import MMoE
from training.rankers.omoe import OMoE
from training.rankers.ple import PLE

TRUNKS = {
    OMoE: {"experts": 3},
    MMoE: {"experts": 3},
    MLMMoE: {"levels": 2, "experts": 3},
    CGC: {"own": 2, "shared": 1},
    PLE: {"levels": 2, "own": 1, "shared": 2},
    AdaTT: {"levels": 2, "own": 2},
}


def _pair(kind):
    """A trunk on blocks, and the same one behind a feature selection."""
    arguments = {"tasks": 2, "hidden": HIDDEN} | TRUNKS[kind]
    plain = made(kind(WIDTHS, **arguments))
    selected = FieldSelection(LAYOUT, kind(WIDTHS.total, **arguments), tasks=2).double()
    for mine, theirs in zip(_layers(selected.trunk), _layers(plain), strict=True):
        _copy(mine, theirs)
    return plain, selected


def _layers(trunk):
    return [
        module
        for module in trunk.modules()
        if next(module.parameters(recurse=False), None) is not None
    ]


def _copy(mine, theirs):
    """The first layers of all groups are column ranges of one matrix there, one each here."""
    with torch.no_grad():
        for name, parameter in mine.named_parameters(recurse=False):
            value = getattr(theirs, name)
            if isinstance(theirs, BlockLinear):
                groups = len(mine.weight)
                value = value.unflatten(-1, (groups, -1))
                value = value.transpose(0, 1) if name == "weight" else value.unsqueeze(1)
            parameter.copy_(value)


@pytest.mark.parametrize("kind", TRUNKS, ids=lambda kind: kind.__name__)
def test_selection_starts_as_the_trunk_without_it(kind):
    plain, selected = _pair(kind)
    torch.testing.assert_close(selected(blocks()), plain(blocks()), **EXACT)


def test_a_tasks_fields_are_scaled_by_its_own_softmax():
    _, selected = _pair(CGC)
    torch.nn.init.normal_(selected.select.weight)
    x = blocks()
    seen = []
    selected.trunk.streams = lambda tasks, shared: seen.append((tasks, shared))
    selected(x)
    w = torch.softmax((x.whole @ selected.select.weight).unflatten(1, (3, 4)), dim=2)
    for stream, found in enumerate([*seen[0][0].unbind(1), seen[0][1][:, 0]]):
        for number, (field, start) in enumerate(zip(LAYOUT.fields, LAYOUT.starts, strict=True)):
            at = slice(start, start + field.width)
            expected = 4 * w[:, stream, number, None] * x.whole[:, at]
            torch.testing.assert_close(found[:, at], expected, **EXACT)


def test_a_tasks_selection_moves_that_task_alone():
    _, selected = _pair(CGC)
    before = selected(blocks())
    with torch.no_grad():
        selected.select.weight.unflatten(1, (3, 4))[:, 1] += torch.randn(12, 4)
    after = selected(blocks())
    assert torch.equal(after[:, 0], before[:, 0])
    assert not torch.allclose(after[:, 1], before[:, 1])


def test_mixtures_tell_of_fields_and_experts():
    _, selected = _pair(CGC)
    found = selected.mixtures(blocks())
    assert selected.pools["fields"] == ("user_id", "age", "item_id", "rate")
    assert found["fields"].eq(0.25).all()
    assert found["fields"].shape == (9, 2, 4)
    assert found["level 1"].shape == (9, 2, 3)
