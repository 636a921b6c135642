"""The bench data: what items and users of the bench model carry, the same for the same seed."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCENE = "bench"
SCORE = "ctr^0.3 * ctcvr^0.5 * vtr^0.4 * (1 + vcr)^1.2"

_DIGITS = 4  # of a dense value on the wire


@dataclass(frozen=True)
class Catalogue:
    """Items `item_0…` and users `user_0…`; user features `u_0…`, item features `cat_0…` and `d_0…`.

    What a request carries inline is what the store holds.
    """

    seed: int = 1
    items: int = 20_000
    users: int = 1_000
    user_categoricals: int = 20
    item_categoricals: int = 20
    dense: int = 8
    vocabulary: int = 20_000

    @property
    def user_names(self) -> tuple[str, ...]:
        return tuple(f"u_{n}" for n in range(self.user_categoricals))

    @property
    def categorical_names(self) -> tuple[str, ...]:
        return tuple(f"cat_{n}" for n in range(self.item_categoricals))

    @property
    def dense_names(self) -> tuple[str, ...]:
        return tuple(f"d_{n}" for n in range(self.dense))

    def user(self, n: int) -> dict[str, Any]:
        """Raw features of `user_<n>`."""
        return dict(zip(self.user_names, map(str, self._user_values[n].tolist()), strict=True))

    def item(self, n: int) -> dict[str, Any]:
        """Raw features of `item_<n>`."""
        return {name: values[0] for name, values in self.columns(np.array([n])).items()}

    def columns(self, items: NDArray[np.int64]) -> dict[str, list[Any]]:
        """Raw features of several items, one list a feature."""
        categoricals, dense = self._item_values[0][items], self._item_values[1][items]
        return {
            name: [str(value) for value in categoricals[:, at].tolist()]
            for at, name in enumerate(self.categorical_names)
        } | {name: dense[:, at].tolist() for at, name in enumerate(self.dense_names)}

    @cached_property
    def _user_values(self) -> NDArray[np.int64]:
        draw = np.random.default_rng([self.seed, 1])
        return draw.integers(0, self.vocabulary, (self.users, self.user_categoricals))

    @cached_property
    def _item_values(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        draw = np.random.default_rng([self.seed, 2])
        categoricals = draw.integers(0, self.vocabulary, (self.items, self.item_categoricals))
        return categoricals, draw.standard_normal((self.items, self.dense)).round(_DIGITS)
