"""Started by torchrun: the gradient that two processes have of one minibatch, for test_team.py."""

import sys
from pathlib import Path

import torch
from torch import nn

from training.losses import binary, over_space
from training.team import Team, joined

ROWS = 7  # the processes have 4 and 3 of them


def minibatch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs (7, 3), labels (7, 2) and spaces (7, 2), whose second has rows 0, 1 and 6 only."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(ROWS, 3, generator=random, dtype=torch.float64)
    labels = (torch.rand(ROWS, 2, generator=random) < 0.5).double()
    spaces = torch.ones(ROWS, 2, dtype=torch.bool)
    spaces[2:6, 1] = False
    return inputs, labels, spaces


class Logits(nn.Linear):
    """Inputs by name -> (B, 2), as a ranker takes them."""

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return super().forward(inputs["values"])


def gradient(team: Team) -> torch.Tensor:
    """Of the two tasks' mean losses over their spaces, by all weights."""
    torch.manual_seed(1)
    ranker = Logits(3, 2).double()
    inputs, labels, spaces = minibatch()
    counts = team.counts(ROWS)
    mine = slice(sum(counts[: team.rank]), sum(counts[: team.rank + 1]))
    logits = ranker({"values": inputs[mine]})
    logits, labels, spaces = team.whole([logits, labels[mine], spaces[mine]], counts)
    losses = [over_space(binary, [logits[:, k]], labels[:, k], spaces[:, k]) for k in (0, 1)]
    torch.stack(losses).sum().backward()
    team.sum_gradients(ranker.parameters())
    return torch.cat([p.grad.flatten() for p in ranker.parameters()])


if __name__ == "__main__":
    with joined("cpu") as team:
        found = gradient(team)
        torch.save((team.size, found), Path(sys.argv[1]) / f"rank{team.rank}.pt")
