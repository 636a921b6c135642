"""A feature-selection gate before a trunk: every task weighs the input's fields anew."""

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Layout
from training.modules.gate import watch
from training.modules.linear import BlockLinear


class FieldSelection(nn.Module):
    """Scale each field's columns by a softmax over the F fields.  Blocks -> (B, T, H)

    x_f^k = F g_f^k x_f,  g^k = softmax(W^k x), one g a task and one for what tasks share

    What belongs to task k in the trunk (its experts, its gate) reads x^k. As published for
    Meituan's search, but for the factor F: a softmax over F fields alone would shrink the input F
    times. W starts at zero, so every field starts at its own scale.

    Args:
        trunk: with `streams(tasks, shared)`, built for inputs of `layout.widths.total` numbers.
    """

    def __init__(self, layout: Layout, trunk: nn.Module, *, tasks: int) -> None:
        super().__init__()
        self.trunk, self.tasks = trunk, tasks
        self.select = BlockLinear(layout.widths, tasks + 1, len(layout.fields), bias=False)
        nn.init.zeros_(self.select.weight)
        self.softmax = nn.Softmax(dim=-1)
        widths = torch.tensor([field.width for field in layout.fields])
        field = torch.arange(len(widths)).repeat_interleave(widths)
        self.register_buffer("field", field, persistent=False)  # of every column
        self.pools = trunk.pools | {"fields": tuple(field.name for field in layout.fields)}

    def forward(self, x: Blocks) -> Tensor:
        scale = self.softmax(self.select(x))  # (B, T + 1, F)
        scale = scale * scale.shape[2]
        of_columns = scale.gather(2, self.field.expand(*scale.shape[:2], -1))  # (B, T + 1, D)
        streams = x.whole.unsqueeze(1) * of_columns
        return self.trunk.streams(streams[:, :-1], streams[:, -1:])

    @property
    def gates(self) -> dict[str, nn.Module]:
        return {**self.trunk.gates, "fields": self}

    def mixtures(self, x: Blocks) -> dict[str, Tensor]:
        """The trunk's mixtures, and every task's weights of the fields: "fields" -> (B, T, F)."""
        found = watch(self.gates, lambda: self(x))
        found["fields"] = found["fields"][:, :-1]
        return {name: weights.expand(-1, self.tasks, -1) for name, weights in found.items()}
