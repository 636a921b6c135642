"""STEM-Net: Su et al., Shared and Task-Specific Embedding for Recommendation, AAAI 2024."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.modules.blocks import Blocks, Layout
from training.modules.expert_bank import ExpertBank
from training.modules.gate import AnyGate, GateKind, make_gate, watch


class STEM(nn.Module):
    """Every task has its own embeddings beside the shared ones.  Blocks -> (B, T, H)

    g^k = softmax(W^k (x^k + x^s)) [E_k(x^k), sg(E_l(x^l)) for l != k, E_s(x^s)]

    x^k and x^s are looked up in T + 1 tables; numbers are the same in all of them. A task sees the
    experts of every other, but its loss passes no gradient to them (sg), so it never moves another
    task's table. One level, as the authors train it.

    Args:
        layout: of an embedding T + 1 times as wide as one table's: an embedded field is its row in
            each table, the tasks' first.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        tasks: int,
        own: int,
        shared: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
        gate: GateKind = "softmax",
    ) -> None:
        super().__init__()
        columns = _columns(layout, streams=tasks + 1)
        width, pool = columns.shape[1], tasks * own + shared
        bank = {"hidden": hidden, "dropout": dropout}
        self.own = ExpertBank(width, groups=tasks, experts=own, **bank)
        self.shared = ExpertBank(width, groups=1, experts=shared, **bank)
        self.gate = make_gate(gate, width, groups=tasks, pool=pool, width=hidden[-1])
        self.register_buffer("columns", columns, persistent=False)
        of_task = torch.arange(tasks).repeat_interleave(own)  # of every own expert
        its_own = of_task == torch.arange(tasks).unsqueeze(1)
        learns = torch.cat([its_own, torch.ones(tasks, shared, dtype=torch.bool)], dim=1)
        self.register_buffer("learns", learns.unsqueeze(2), persistent=False)
        theirs = (f"task {k} own {n}" for k in range(1, tasks + 1) for n in range(1, own + 1))
        self.pools = {"level 1": (*theirs, *(f"shared {n}" for n in range(1, shared + 1)))}

    def forward(self, x: Blocks) -> Tensor:
        streams = x.whole.index_select(1, self.columns.flatten())
        streams = streams.unflatten(1, self.columns.shape)  # (B, T + 1, D)
        tasks, shared = streams[:, :-1], streams[:, -1:]
        experts = [self.own(tasks).flatten(1, 2), self.shared(shared).flatten(1, 2)]
        pool = torch.cat(experts, dim=1).unsqueeze(1)  # (B, 1, P, H)
        return self.gate(tasks + shared, torch.where(self.learns, pool, pool.detach()))

    @property
    def gates(self) -> dict[str, AnyGate]:
        return {"level 1": self.gate}

    def mixtures(self, x: Blocks) -> dict[str, Tensor]:
        """How much every task takes of each expert in `pools`: level -> (B, T, P)."""
        return watch(self.gates, lambda: self(x))


def _columns(layout: Layout, *, streams: int) -> Tensor:
    """Which columns of the blocks each stream reads: (streams, D)."""
    of_stream: list[list[Tensor]] = [[] for _ in range(streams)]
    for field, start in zip(layout.fields, layout.starts, strict=True):
        columns = torch.arange(start, start + field.width)
        shares = columns.chunk(streams) if field.embedded else [columns] * streams
        for mine, share in zip(of_stream, shares, strict=True):
            mine.append(share)
    return torch.stack([torch.cat(mine) for mine in of_stream])
