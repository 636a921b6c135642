"""The gate of a mixture of experts, in two kinds. Notation: `training.modules`."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Widths
from training.modules.linear import first_layer


class Gate(nn.Module):
    """Mix a pool of experts by softmax(W selector): g(x) = sum_p w_p(selector) pool_p.

    The weights depend on the selector alone, never on what the experts answer
    (Ma et al., KDD 2018, eq. 7; Tang et al., RecSys 2020, eq. 2). No bias, dropout or
    normalisation.

    selector: Blocks (level 1) or (B, G, D); pool: (B, G, P, H), or (B, 1, P, H) shared by all
        groups;
    returns (B, G, H).
    """

    def __init__(self, width_in: Widths | int, *, groups: int, pool: int) -> None:
        super().__init__()
        self.select = first_layer(width_in, groups, pool, bias=False)
        self.softmax = nn.Softmax(dim=-1)

    def weights(self, selector: Blocks | Tensor) -> Tensor:
        """(B, G, P), every row a distribution over the pool."""
        return self.softmax(self.select(selector))

    def forward(self, selector: Blocks | Tensor, pool: Tensor) -> Tensor:
        return mix(self.weights(selector), pool)


class AttentionGate(nn.Module):
    """Mix a pool of experts by scaled dot-product attention: the weights see the experts' answers.

    w_p = softmax_p(<W_q selector, W_k pool_p> / sqrt(H)); one W_q a group, one W_k for all. With
    W_q = 0 it is the mean of the pool, with constant keys in place of W_k pool_p it is `Gate`.
    Shapes as in `Gate`; `width` is H.
    """

    def __init__(self, width_in: Widths | int, *, groups: int, width: int) -> None:
        super().__init__()
        self.query = first_layer(width_in, groups, width, bias=False)
        self.key = nn.Parameter(torch.empty(width, width))  # W_k, transposed
        nn.init.xavier_uniform_(self.key)
        self.softmax = nn.Softmax(dim=-1)

    def weights(self, selector: Blocks | Tensor, pool: Tensor) -> Tensor:
        """(B, G, P), every row a distribution over the pool."""
        # <W_q s, W_k e> = <W_k' W_q s, e>: one product a group instead of one an expert
        query = self.query(selector) @ self.key.T
        return self.softmax((query.unsqueeze(2) * pool).sum(dim=-1) / math.sqrt(pool.shape[-1]))

    def forward(self, selector: Blocks | Tensor, pool: Tensor) -> Tensor:
        return mix(self.weights(selector, pool), pool)


GateKind = Literal["softmax", "attention"]
AnyGate = Gate | AttentionGate


def make_gate(
    kind: GateKind, width_in: Widths | int, *, groups: int, pool: int, width: int
) -> AnyGate:
    """A gate that mixes `pool` experts of `width` numbers each."""
    if kind == "attention":
        return AttentionGate(width_in, groups=groups, width=width)
    return Gate(width_in, groups=groups, pool=pool)


def mix(weights: Tensor, pool: Tensor) -> Tensor:
    """(B, G, P) and (B, G, P, H), or (B, 1, P, H) shared by all groups -> (B, G, H)."""
    return (weights.unsqueeze(-1) * pool).sum(dim=2)


def watch(gates: Mapping[str, nn.Module], run: Callable[[], object]) -> dict[str, Tensor]:
    """What the named gates weigh while `run` calls each of them once: name -> (B, G, P).

    Args:
        gates: modules whose `softmax` gives the weights.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, weights: seen.__setitem__(name, weights.detach())

    handles = [gate.softmax.register_forward_hook(keep(name)) for name, gate in gates.items()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return seen
