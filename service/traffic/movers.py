"""Items that come to the first screen, or leave it, in the most requests."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.traffic.batch import Floats, ItemNames

MOST = 10


@dataclass
class Movers:
    """Counts, for each item, the requests that have it among the first `depth`."""

    names: ItemNames
    depth: int
    # by item: requests as served, as drafted, either; sums of places as served and as drafted
    _sums: Floats = field(default_factory=lambda: np.zeros((5, 0)))

    def add(
        self,
        items: NDArray[np.int64],
        real: NDArray[np.bool_],
        served: NDArray[np.intp],
        draft: NDArray[np.intp],
    ) -> None:
        """(R, W) each: numbers of the items, which are no padding, their places, 0 the best."""
        size = len(self.names.names)
        if size > self._sums.shape[1]:
            grown = np.zeros((5, max(size, 2 * self._sums.shape[1])))
            grown[:, : self._sums.shape[1]] = self._sums
            self._sums = grown
        was, now = real & (served < self.depth), real & (draft < self.depth)
        either = was | now
        counted = ((was, None), (now, None), (either, None), (either, served), (either, draft))
        for at, (chosen, weight) in enumerate(counted):
            weights = None if weight is None else weight[chosen]
            self._sums[at] += np.bincount(items[chosen], weights, self._sums.shape[1])

    def report(self) -> dict[str, list[dict[str, Any]]]:
        """The items with the largest net gain and loss of requests."""
        was, now, either, place_was, place_now = self._sums
        net = now - was
        by_net = np.argsort(-net, kind="stable")

        def entry(item: int) -> dict[str, Any]:
            return {
                "id": self.names.names[item],
                "served": int(was[item]),
                "draft": int(now[item]),
                "mean_place_served": 1 + float(place_was[item] / either[item]),
                "mean_place_draft": 1 + float(place_now[item] / either[item]),
            }

        return {
            "up": [entry(item) for item in by_net[:MOST].tolist() if net[item] > 0],
            "down": [entry(item) for item in by_net[::-1][:MOST].tolist() if net[item] < 0],
        }
