"""The cross network of DCN-v2: Wang et al., WWW 2021."""

from dataclasses import replace

from torch import Tensor, nn

from training.modules.blocks import Blocks, Layout


class CrossLayers(nn.Module):
    """x_{l+1} = x_0 * (W_l x_l + b_l) + x_l over all columns, stacked before the trunk.

    With `rank` r, W_l = U_l V_l' of (D, r) each. Every column of the result depends on every
    feature, so all of them are cross columns.  Blocks -> Blocks of the same total width D
    """

    called = "a cross layer"

    def __init__(self, layout: Layout, *, layers: int, rank: int | None = None) -> None:
        super().__init__()
        width = layout.widths.total
        self.layers = nn.ModuleList(_Affine(width, rank) for _ in range(layers))
        crossed = (replace(field, block="cross", embedded=False) for field in layout.fields)
        self.layout = Layout(tuple(crossed))

    def forward(self, x: Blocks) -> Blocks:
        first = crossed = x.whole
        for layer in self.layers:
            crossed = first * layer(crossed) + crossed
        return x.of(x.user[:, :0], x.item[:, :0], crossed)


class _Affine(nn.Module):
    """W x + b, or U V' x + b.  (B, D) -> (B, D)"""

    def __init__(self, width: int, rank: int | None) -> None:
        super().__init__()
        self.maps = nn.Sequential()
        if rank is not None:
            self.maps.append(nn.Linear(width, rank, bias=False))
        self.maps.append(nn.Linear(rank or width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x)
