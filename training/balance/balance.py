"""What every balance is."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn


class Balance(Protocol):
    """See `training.balance`."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]: ...

    def backward(self, losses: Mapping[str, Tensor], epoch: int) -> None: ...

    def state(self) -> dict[str, Tensor]: ...

    def restore(self, state: Mapping[str, Tensor]) -> None: ...
