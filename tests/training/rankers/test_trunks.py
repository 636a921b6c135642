"""Every kind of trunk from its configuration: shapes, names of experts, and what may be asked."""

import pytest
import torch
from pydantic import TypeAdapter

from tests.training.rankers.trunks import LAYOUT, blocks
from training.config.trunks import Trunk
from training.rankers.trunks import build_trunk

TRUNKS = {
    "shared-bottom": {},
    "omoe": {"experts": 3},
    "mmoe": {"experts": 3},
    "ml-mmoe": {"levels": 2, "experts": 3},
    "cgc": {"own": 2, "shared": 1},
    "ple": {"levels": 2, "own": 1, "shared": 2},
    "aitm": {},
    "stem": {"own": 1, "shared": 2},
    "adatt": {"levels": 2, "own": 2},
}
GATED = [
    (kind, gate)
    for kind in TRUNKS
    for gate in ("softmax", "attention", "feature-selection")
    if kind not in ("shared-bottom", "aitm") and (kind, gate) != ("stem", "feature-selection")
]


def _built(kind, tasks=3, **changes):
    table = {"kind": kind, "hidden": [8, 6]} | TRUNKS[kind] | changes
    trunk = TypeAdapter(Trunk).validate_python(table)
    torch.manual_seed(0)
    return build_trunk(LAYOUT, trunk, tasks=tasks, dropout=0.1).double().eval()


@pytest.mark.parametrize("kind", TRUNKS)
@pytest.mark.parametrize("tasks", [1, 3])
def test_every_task_gets_as_many_numbers_as_the_last_layer_is_wide(kind, tasks):
    assert _built(kind, tasks)(blocks()).shape == (9, tasks, 6)


@pytest.mark.parametrize(("kind", "gate"), GATED)
def test_mixtures_are_distributions_over_named_experts(kind, gate):
    trunk = _built(kind, gate=gate)
    mixtures = trunk.mixtures(blocks())
    assert mixtures.keys() == trunk.pools.keys()
    for level, weights in mixtures.items():
        assert weights.shape == (9, 3, len(trunk.pools[level]))
        assert len(set(trunk.pools[level])) == len(trunk.pools[level])
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(2), torch.ones(9, 3, dtype=torch.float64))


@pytest.mark.parametrize(("kind", "gate"), GATED)
def test_every_parameter_learns(kind, gate):
    trunk = _built(kind, gate=gate)
    trunk(blocks(200)).square().sum().backward()
    assert [name for name, p in trunk.named_parameters() if not p.grad.any()] == []


def test_names_of_experts():
    assert _built("ple").pools["level 2"] == ("own 1", "shared 1", "shared 2")
    assert _built("adatt", 2).pools["level 1"] == (
        "task 1 own 1",
        "task 1 own 2",
        "task 2 own 1",
        "task 2 own 2",
    )
    assert _built("stem").pools["level 1"] == (
        "task 1 own 1",
        "task 2 own 1",
        "task 3 own 1",
        "shared 1",
        "shared 2",
    )
    assert _built("ml-mmoe").pools == {"level 2": ("shared 1", "shared 2", "shared 3")}
