"""EPNet, the embedding gate of PEPNet: Chang et al., KDD 2023."""

from collections.abc import Iterable

from torch import nn

from training.modules.blocks import Blocks, Layout
from training.modules.gate_nu import GateNU


class SceneGate(nn.Module):
    """x * GateNU(scene, sg(x)): every column scaled by a factor in (0, 2) that the scene decides.

    Blocks -> Blocks of the same layout; the same numbers until training moves the gate.
    """

    called = "a scene gate"

    def __init__(self, layout: Layout, *, scene: Iterable[str], hidden: int) -> None:
        super().__init__()
        width = layout.widths.total
        self.gate = GateNU(layout, scene, hidden=hidden, groups=1, width_out=width)
        self.layout = layout

    def forward(self, x: Blocks) -> Blocks:
        scaled = x.whole * self.gate(x).squeeze(1)
        return x.of(*scaled.split(self.layout.widths, dim=1))
