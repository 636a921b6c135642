"""A log whose two tasks want different things of the same features, to see who gives way.

With u and v orthogonal directions in feature space, P(a | x) = σ(4 sin(2.5 u·x)) and
P(b | x) = σ(4 sin(2.5 v·x)): each task needs most of a narrow network's units, and what serves one
says nothing about the other (the construction of Ma et al., KDD 2018, section 3.3).
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

FEATURES = 12
ROWS = {1: 40_000, 2: 20_000, 3: 20_000}  # train, validation, test stand as days


def probabilities(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, FEATURES) -> (N, 2): P(a), P(b)."""
    directions, _ = np.linalg.qr(np.random.default_rng(99).normal(size=(FEATURES, 2)))
    rates: NDArray[np.float64] = 1 / (1 + np.exp(-4 * np.sin(2.5 * x @ directions)))
    return rates


def conflict_log(rows: dict[int, int] = ROWS, *, seed: int = 0) -> pl.DataFrame:
    """The log: `day`, `user`, `item`, x0 … and the labels `a` and `b`."""
    rng = np.random.default_rng(seed)
    total = sum(rows.values())
    x = rng.normal(size=(total, FEATURES)).astype(np.float32)
    drawn = (rng.random((total, 2)) < probabilities(x.astype(np.float64))).astype(np.int8)
    return pl.DataFrame(
        {
            "day": np.repeat([20260100 + day for day in rows], list(rows.values())),
            "user": ["everybody"] * total,
            "item": np.arange(total).astype(str),
            **{f"x{n}": x[:, n] for n in range(FEATURES)},
            "a": drawn[:, 0],
            "b": drawn[:, 1],
        }
    )


def write(directory: Path, rows: dict[int, int] = ROWS) -> None:
    """Write log.csv, which training/configs/conflict.toml reads."""
    directory.mkdir(parents=True, exist_ok=True)
    conflict_log(rows).write_csv(directory / "log.csv")
