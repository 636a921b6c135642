"""Dropout whose masks are cheap to draw on a CPU."""

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Zero a share of the elements and scale the others to keep the mean; nothing when serving.

    On a CPU PyTorch draws one double a Bernoulli number, which took a fifth of a training step;
    here 16 random bits decide, so the share is `p` to the nearest 1/65536.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._dropped = round(p * _LEVELS)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self._dropped:
            return x
        if x.is_cuda:
            return nn.functional.dropout(x, self.p)
        return x * self._mask(x)

    def extra_repr(self) -> str:
        return f"p={self.p}"

    def _mask(self, x: Tensor) -> Tensor:
        """0 or 1 / (1 - p), by whether a number in -32768 … 32767 is below the dropped ones."""
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: x.numel()].view(x.shape)
        scale = _LEVELS / (_LEVELS - self._dropped)
        # half a step beyond a whole number times 2 * scale: at least scale, or at most -scale
        first_kept = self._dropped - _LEVELS // 2 - 0.5
        mask = bits.float().sub_(first_kept).mul_(2 * scale).clamp_(0, scale)
        return mask.to(x.dtype)
