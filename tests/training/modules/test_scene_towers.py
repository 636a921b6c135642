"""Scene towers: the common tower until a scene has learned, and each scene on its own."""

import torch

from training.modules.blocks import Blocks
from training.modules.scene_towers import SceneTowers
from training.modules.tower_bank import TowerBank

SCENE = torch.tensor([0, 1, 2, 1], dtype=torch.int32)


def _towers(outputs=1):
    torch.manual_seed(0)
    common = TowerBank(tasks=1, width_in=5, hidden=(4,), outputs=[outputs])
    scenes = TowerBank(tasks=3, width_in=5, hidden=(4,), outputs=[outputs] * 3)
    return SceneTowers(common, scenes, feature="tab").double()


def _case():
    nothing = torch.zeros(4, 0, dtype=torch.float64)
    x = torch.randn(4, 1, 5, dtype=torch.float64)
    one = torch.ones(4, 1, dtype=torch.float64)
    return x, Blocks(one, nothing, nothing, ids={"tab": SCENE})


def test_every_scene_has_the_common_tower_before_training():
    towers, (x, blocks) = _towers(), _case()
    assert torch.equal(towers(x, blocks), towers.common(x))


def test_a_row_adds_its_own_scenes_tower():
    for outputs in (1, 3):
        towers, (x, blocks) = _towers(outputs), _case()
        torch.nn.init.normal_(towers.scenes.out.weight)
        of_all = towers.scenes(x.expand(-1, 3, -1)).unflatten(1, (3, outputs))
        expected = towers.common(x) + torch.stack([of_all[r, s] for r, s in enumerate(SCENE)])
        torch.testing.assert_close(towers(x, blocks), expected, rtol=0, atol=1e-12)


def test_a_scene_that_no_row_has_learns_nothing():
    towers, (x, blocks) = _towers(), _case()
    seen = Blocks(blocks.user, blocks.item, blocks.cross, ids={"tab": SCENE.clamp(min=1)})
    towers(x, seen).sum().backward()
    gradient = towers.scenes.out.weight.grad
    assert not gradient[0].any()
    assert gradient[1].any()
