"""Where the values that products read are rounded to 8 bits, and between which limits.

Moving 8 bits costs a quarter of moving floats, and a product may give 8 bits itself: so what only
moves numbers about (and Relu, which rounding to [0, high] does by itself) comes after the rounding.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

_MOVES = frozenset({"Concat", "Relu", "Reshape", "Slice", "Transpose"})
_LEVELS = 255

Range = tuple[float, float]  # smallest and largest value; 0 is between them


@dataclass(frozen=True)
class Step:
    """What a value is rounded by: q = round(x / scale) + zero, in 0 ... 255."""

    scale: np.float32
    zero: np.uint8

    @classmethod
    def over(cls, low: float, high: float) -> "Step":
        scale = np.float32(max(high - low, 1e-12) / _LEVELS)
        return cls(scale, np.uint8(np.clip(np.rint(-low / scale), 0, _LEVELS)))


def moved(node: onnx.NodeProto | None) -> tuple[str, ...]:
    """The values that a node only moves about; none if it computes."""
    if node is None or node.op_type not in _MOVES:
        return ()
    return tuple(node.input) if node.op_type == "Concat" else (node.input[0],)


class Rounding:
    """The steps of a graph's rounded values.

    `steps` holds the values that are rounded as they are computed; another value that a product
    reads is moved there from them, and has the step of all of them.

    Args:
        producer: value -> the node that computes it.
        ranges: of every value that a product reads.
        whole: values that are read by more than products, so they are not theirs to round.
    """

    def __init__(
        self,
        producer: Mapping[str, onnx.NodeProto],
        ranges: Mapping[str, Range],
        whole: Iterable[str],
    ) -> None:
        self._producer, self._whole = producer, frozenset(whole)
        self.steps: dict[str, Step] = {}
        for names in self._together(ranges):
            low = min(ranges[name][0] for name in names)
            high = max(ranges[name][1] for name in names)
            sources = {source for name in names for source in self._sources(name)}
            if self._whole & sources or (low < 0 and any(map(self._is_cut_off, names))):
                self.steps |= {name: Step.over(*ranges[name]) for name in names}
            else:
                self.steps |= dict.fromkeys(sources, Step.over(low, high))

    def step(self, name: str) -> Step:
        """Of a value that a product reads."""
        while name not in self.steps:
            name = moved(self._producer[name])[0]
        return self.steps[name]

    def _sources(self, name: str) -> set[str]:
        near = moved(self._producer.get(name))
        return {far for one in near for far in self._sources(one)} if near else {name}

    def _is_cut_off(self, name: str) -> bool:
        """Whether there is a Relu on the way from its sources."""
        node = self._producer.get(name)
        near = moved(node)
        return bool(near) and (node.op_type == "Relu" or any(map(self._is_cut_off, near)))

    def _together(self, names: Iterable[str]) -> list[list[str]]:
        """Names that have sources in common, by any number of steps."""
        found: list[tuple[set[str], list[str]]] = []
        for name in names:
            sources, members = self._sources(name), [name]
            apart = []
            for other in found:
                if other[0] & sources:
                    sources |= other[0]
                    members += other[1]
                else:
                    apart.append(other)
            found = [*apart, (sources, members)]
        return [members for _, members in found]
