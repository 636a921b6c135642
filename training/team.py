"""The processes that train one ranker together: each its share of every minibatch, one result.

Under `torchrun` every process computes the logits of its portion of the minibatch; logits and
labels are gathered, so that every process sees the losses of the whole minibatch, and the gradients
are summed. A loss that is a mean over a sample space, or anything else of the whole minibatch, is
therefore what one process would have computed, not a mean of the processes' means.

Every process holds the whole ranker. A table that outgrows one device is TorchRec's business
(https://docs.pytorch.org/torchrec/): shard `FeatureEmbedding.table` with its
DistributedModelParallel and keep the rest as it is; only `FeatureEmbedding` reads the table.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import torch
from torch import Tensor, distributed, nn

from service.scoring.threads import cpu_budget

_PATIENCE = timedelta(hours=2)  # the others wait for the first to measure and to encode
DeviceName = Literal["auto", "cpu", "cuda"]


class DeviceError(ValueError):
    """A device that was asked for and is not there."""


@dataclass(frozen=True)
class Team:
    """This process among `size` ones. Alone, everything here is the identity."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def counts(self, rows: int) -> list[int]:
        """How many of so many rows each process has: as equal as can be, the first ones more."""
        return [rows // self.size + (rank < rows % self.size) for rank in range(self.size)]

    def of_mine(self, parts: int) -> list[int]:
        """Which of so many parts this process has: neighbours, in the order of the processes."""
        return [part for part in range(parts) if self.holder(part, parts) == self.rank]

    def holder(self, part: int, parts: int) -> int:
        """The process that has this one of so many parts."""
        return part * self.size // parts

    def whole(self, mine: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
        """This process's rows of a minibatch, each (counts[rank], width) -> those of all processes,
        one process after the other, with the same types.

        The gradient reaches this process's rows only: `sum_gradients` adds up the others'.
        """
        if self.size == 1:
            return list(mine)
        beside = torch.cat([block.to(mine[0].dtype) for block in mine], dim=1)
        gathered = _Gathered.apply(beside, list(counts), self.rank)
        blocks = gathered.split([block.shape[1] for block in mine], dim=1)
        return [block.to(own.dtype) for block, own in zip(blocks, mine, strict=True)]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes; afterwards all have the minibatch's own."""
        if self.size > 1:
            self.sum([p.grad for p in parameters if p.grad is not None])

    def sum(self, tensors: list[Tensor]) -> None:
        """Add up, in place, what every process has."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def agreed(self, value: Any) -> Any:
        """The first process's value, which the others may leave None."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def everyone(self, value: Any) -> list[Any]:
        """What every process has, by rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()

    def seed(self, seed: int) -> None:
        """Start this process's random state: its dropout differs from the others'."""
        torch.manual_seed(seed + self.rank * 1_000_003)

    def random_states(self) -> list[Tensor]:
        """The random state of every process, by rank."""
        return self.everyone(self._random_state())

    def restore_random_state(self, state: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        else:
            torch.set_rng_state(state)

    def _random_state(self) -> Tensor:
        if self.device.type == "cuda":
            return torch.cuda.get_rng_state(self.device)
        return torch.get_rng_state()


ALONE = Team()


@contextmanager
def joined(device: DeviceName) -> Iterator[Team]:
    """The team that `torchrun` started this process in, or this process alone.

    Sets PyTorch's number of threads: the processes of a machine share its CPUs. Alone,
    OMP_NUM_THREADS decides where it is set (torchrun sets it to 1, whatever the machine has).

    Raises:
        DeviceError: "cuda" where there is none.
    """
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise DeviceError('[train] device = "cuda": PyTorch finds no CUDA device here')
    local_rank, neighbours = (
        int(os.environ.get(name, default))
        for name, default in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
    )
    chosen = torch.device("cpu")
    if cuda and device != "cpu":
        chosen = torch.device("cuda", local_rank % torch.cuda.device_count())
        torch.cuda.set_device(chosen)
    launched = distributed.is_torchelastic_launched()
    if launched or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cpu_budget().threads // neighbours))
    if not launched:
        yield Team(device=chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size(), chosen)
    finally:
        distributed.destroy_process_group()


class _Gathered(torch.autograd.Function):
    """Rows of all processes, one after the other; the gradient of this process's own."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, counts: list[int], rank: int) -> Tensor:
        ctx.counts, ctx.rank = counts, rank
        most = max(counts)
        padded = mine.new_zeros(most, mine.shape[1])
        padded[: len(mine)] = mine
        everyone = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(everyone, padded)
        return torch.cat([part[:rows] for part, rows in zip(everyone, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.split(ctx.counts)[ctx.rank].contiguous(), None, None
