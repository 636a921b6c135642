"""Affine maps onto several groups at once. Notation: `training.modules`."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths


class BlockLinear(nn.Module):
    """W_u u + W_i i + W_x x + b for groups that all read the same input.  Blocks -> (B, G, H)

    The three matrices are row ranges of one `weight` (D, G * H): training runs a single GEMM, and
    `parts` gives the summands, which is where a served graph is cut.

    Args:
        detached: send no gradient back into the input.
    """

    def __init__(
        self,
        widths: Widths,
        groups: int,
        width_out: int,
        *,
        bias: bool = True,
        detached: bool = False,
    ) -> None:
        super().__init__()
        self.detached = detached
        self.register_buffer("columns", None, persistent=False)
        self.widths, self.groups, self.width_out = widths, groups, width_out
        self.weight = nn.Parameter(torch.empty(widths.total, groups * width_out))
        self.bias = nn.Parameter(torch.zeros(groups * width_out)) if bias else None
        _init(self.weight, fan_in=widths.total)

    def read_only(self, columns: Tensor) -> None:
        """Read these columns (D') of the input and no others, with new weights (D', G * H)."""
        self.columns = columns
        self.weight = nn.Parameter(self.weight.new_empty(len(columns), self.weight.shape[1]))
        _init(self.weight, fan_in=len(columns))

    @property
    def whole_weight(self) -> Tensor:
        """The weight of every column of the input (D, G * H): 0 where it is not read."""
        if self.columns is None:
            return self.weight
        whole = self.weight.new_zeros(self.widths.total, self.weight.shape[1])
        return whole.index_copy(0, self.columns, self.weight)

    def forward(self, x: Blocks) -> Tensor:
        out = x.products.pop(self, None)
        if out is None:
            out = self._product(x)
        return out.unflatten(1, (self.groups, self.width_out))

    def _product(self, x: Blocks) -> Tensor:
        read = x.whole.detach() if self.detached else x.whole
        if self.columns is not None:
            read = read.index_select(1, self.columns)
        out = read @ self.weight
        return out if self.bias is None else out + self.bias

    def reads_all_of(self, x: Blocks) -> bool:
        """Whether its input is the whole of x, with its gradient."""
        return not self.detached and self.columns is None and self.widths.total == x.whole.shape[1]

    def parts(self, x: Blocks) -> tuple[Tensor, Tensor, Tensor]:
        """The summands (W_u u + b, W_i i, W_x x), each (B, G, H)."""
        of_user, of_item, of_cross = self.whole_weight.split(self.widths, dim=0)
        user = x.user @ of_user
        if self.bias is not None:
            user = user + self.bias
        shape = (self.groups, self.width_out)
        return (
            user.unflatten(1, shape),
            (x.item @ of_item).unflatten(1, shape),
            (x.cross @ of_cross).unflatten(1, shape),
        )


class GroupLinear(nn.Module):
    """One affine map per group, each on its own input.  (B, G, D) -> (B, G, H)"""

    def __init__(self, groups: int, width_in: int, width_out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, width_in, width_out))
        self.bias = nn.Parameter(torch.zeros(groups, 1, width_out)) if bias else None
        _init(self.weight, fan_in=width_in)

    def forward(self, x: Tensor) -> Tensor:
        out = x.transpose(0, 1) @ self.weight  # (G, B, H)
        if self.bias is not None:
            out = out + self.bias
        return out.transpose(0, 1)


def multiply_together(x: Blocks, layers: Iterable[BlockLinear]) -> None:
    """One GEMM for all layers that read the whole of x; their products wait in `x.products`.

    Experts, gates and the linear term of a ranker all do. Each alone, narrow gates cost far more
    than their arithmetic, in the gradient of x most of all.
    """
    together = [layer for layer in layers if layer.reads_all_of(x)]
    if len(together) < 2:
        return
    widths = [layer.weight.shape[1] for layer in together]
    biases = [
        layer.weight.new_zeros(width) if layer.bias is None else layer.bias
        for layer, width in zip(together, widths, strict=True)
    ]
    weight = torch.cat([layer.weight for layer in together], dim=1)
    products = torch.addmm(torch.cat(biases), x.whole, weight).split(widths, dim=1)
    x.products.update(zip(together, products, strict=True))


def first_layer(
    width_in: Widths | int, groups: int, width_out: int, *, bias: bool = True
) -> BlockLinear | GroupLinear:
    """The map for level 1 (all groups read the blocks) or for a later level (each group its own
    input).
    """
    if isinstance(width_in, Widths):
        return BlockLinear(width_in, groups, width_out, bias=bias)
    return GroupLinear(groups, width_in, width_out, bias=bias)


def _init(weight: nn.Parameter, *, fan_in: int) -> None:
    bound = math.sqrt(3.0 / max(fan_in, 1))
    nn.init.uniform_(weight, -bound, bound)
