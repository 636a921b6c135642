"""A task's sub-tower for every scene, beside the tower that all scenes share."""

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks
from training.modules.tower_bank import TowerBank


class SceneTowers(nn.Module):
    """logit = t(h) + t_scene(h), t_scene the scene's own MLP.  (B, 1, H) -> (B, outputs)

    The scenes' output layers start at zero: a scene that training never saw has the common tower.
    All of them are computed for every row, so there should be few.

    Args:
        common: one task's tower.
        scenes: S towers of the same outputs.
        feature: whose id, below S, tells the scene.
    """

    def __init__(self, common: TowerBank, scenes: TowerBank, *, feature: str) -> None:
        super().__init__()
        self.common, self.scenes, self.feature = common, scenes, feature
        nn.init.zeros_(self.scenes.out.weight)

    @property
    def outputs(self) -> tuple[int, ...]:
        return self.common.outputs

    def set_bias(self, task: int, logits: Tensor | float) -> None:
        """As `TowerBank.set_bias`."""
        self.common.set_bias(task, logits)

    def forward(self, x: Tensor, blocks: Blocks) -> Tensor:
        count = len(self.scenes.outputs)
        of_all = self.scenes(x.expand(-1, count, -1), blocks).unflatten(1, (count, -1))
        scene = blocks.ids[self.feature].long()[:, None, None].expand(-1, 1, of_all.shape[2])
        return self.common(x, blocks) + torch.gather(of_all, 1, scene).squeeze(1)
