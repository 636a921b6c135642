"""Another library's layers, copied into our banks: what weight-for-weight agreement is built on.

An affine map is a pair (W (D, H), b (H,)): y = x W + b. Biases that our layer lacks must be 0.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.expert_bank import ExpertBank
from training.modules.gate import Gate
from training.modules.tower_bank import TowerBank

Affine = tuple[Tensor, Tensor]

WIDTHS = Widths(user=5, item=4, cross=3)
TASKS, ROWS = 3, 17
EXACT = {"rtol": 0, "atol": 1e-12}
EXACT_GRADIENT = {"rtol": 0, "atol": 1e-10}


def rows() -> Tensor:
    """The concatenated input (ROWS, D)."""
    random = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, WIDTHS.total, generator=random, dtype=torch.float64)


def blocks(x: Tensor) -> Blocks:
    return Blocks(*x.split(WIDTHS, dim=1))


def away_from_start(module: nn.Module) -> nn.Module:
    """In float64 and evaluation mode, every parameter and running statistic drawn at random."""
    random = torch.Generator().manual_seed(1)
    module.double().eval()
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.normal_(0, 0.5, generator=random)
        for name, tensor in module.named_buffers():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.5, generator=random)
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=random)
    return module


def of_linear(linear: nn.Linear) -> Affine:
    bias = linear.bias if linear.bias is not None else torch.zeros(linear.out_features).double()
    return linear.weight.detach().T, bias.detach()


def folded(linear: nn.Linear, norm: nn.BatchNorm1d) -> Affine:
    """Linear -> BatchNorm1d of running statistics, as one affine map."""
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    weight, bias = of_linear(linear)
    return weight * scale, (bias - norm.running_mean) * scale + norm.bias.detach()


def set_expert(bank: ExpertBank, group: int, expert: int, layers: Sequence[Affine]) -> None:
    """Write an MLP's layers into expert `expert` of group `group`."""
    at = group * bank.experts + expert
    of_all = bank.groups * bank.experts
    (weight, bias), *rest = layers
    with torch.no_grad():
        first = bank.first
        if first.weight.dim() == 2:  # (D, G * E * H): all experts read the blocks
            first.weight.unflatten(1, (of_all, -1))[:, at] = weight
            first.bias.unflatten(0, (of_all, -1))[at] = bias
        else:  # (G, D, E * H): a group reads its own stream
            first.weight.unflatten(2, (bank.experts, -1))[group, :, expert] = weight
            first.bias.unflatten(2, (bank.experts, -1))[group, 0, expert] = bias
    for layer, (weight, bias) in zip(bank.rest, rest, strict=True):
        _set_group(layer, at, weight, bias)


def set_gate(gate: Gate, group: int, affine: Affine) -> None:
    weight, bias = affine
    # The papers' gates have no bias, and neither have ours; softmax drops what all logits share.
    assert (bias - bias[0]).abs().max() < 1e-12
    with torch.no_grad():
        if gate.select.weight.dim() == 2:
            gate.select.weight.unflatten(1, (-1, len(bias)))[:, group] = weight
        else:
            gate.select.weight[group] = weight


def set_tower(towers: TowerBank, task: int, layers: Sequence[Affine]) -> None:
    """Write an MLP's hidden layers and its output into the tower of task `task`."""
    for layer, (weight, bias) in zip((*towers.hidden, towers.out), layers, strict=True):
        _set_group(layer, task, weight, bias)


def _set_group(layer: nn.Module, at: int, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        layer.weight[at] = weight
        layer.bias[at] = bias
