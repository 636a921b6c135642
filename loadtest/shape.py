"""The size of the bench model's network, and the arithmetic that one candidate costs."""

from dataclasses import dataclass
from itertools import pairwise

from loadtest.catalogue import Catalogue

# Task -> the rate its head is centred on.
_RATES = {"ctr": 0.3, "cvr": 0.1, "vtr": 0.4, "vcr": 0.5, "like": 0.05}
_OTHER_RATE = 0.2


@dataclass(frozen=True)
class Shape:
    """A PLE. The defaults are the bench model; the formula needs its five tasks."""

    tasks: int = 5
    levels: int = 2
    own: int = 1
    shared: int = 2
    hidden: tuple[int, ...] = (256, 128)
    tower: int = 64
    embedding: int = 16

    def __post_init__(self) -> None:
        if self.tasks < len(_RATES):
            raise ValueError(f"{self.tasks} tasks: the bench formula needs {', '.join(_RATES)}")

    @property
    def rates(self) -> dict[str, float]:
        """Task -> base rate: the five of the bench model, then `task_5`, `task_6` …"""
        return _RATES | {f"task_{n}": _OTHER_RATE for n in range(len(_RATES), self.tasks)}

    def inputs(self, catalogue: Catalogue) -> int:
        """Width of the embedded input."""
        ids = catalogue.user_categoricals + catalogue.item_categoricals
        return ids * self.embedding + catalogue.dense

    def dense_parameters(self, catalogue: Catalogue) -> int:
        """Parameters outside the tables: experts, gates, towers."""
        experts = self.tasks * self.own + self.shared
        total = 0
        for level in range(self.levels):
            width = self.inputs(catalogue) if level == 0 else self.hidden[-1]
            expert = sum((a + 1) * b for a, b in pairwise((width, *self.hidden)))
            gates = self.tasks * (self.own + self.shared)
            if level < self.levels - 1:
                gates += experts  # the shared stream's gate mixes every expert
            total += experts * expert + gates * width
        tower = (self.hidden[-1] + 1) * self.tower + self.tower + 1
        return total + self.tasks * tower

    def pair_parameters(self, catalogue: Catalogue) -> int:
        """Parameters left for a pair of user and item when the first layer's sums are at hand."""
        experts = self.tasks * self.own + self.shared
        first = experts * self.hidden[0] + self.tasks * (self.own + self.shared)
        if self.levels > 1:
            first += experts
        return self.dense_parameters(catalogue) - self.inputs(catalogue) * first

    def gflop(self, catalogue: Catalogue, candidates: int) -> float:
        """Floor of the whole graph: each parameter is one multiplication and one addition a row."""
        return 2 * self.dense_parameters(catalogue) * candidates / 1e9

    def pair_gflop(self, catalogue: Catalogue, candidates: int) -> float:
        """Floor of what the item cache leaves."""
        return 2 * self.pair_parameters(catalogue) * candidates / 1e9
