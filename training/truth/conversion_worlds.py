"""Worlds of one feature where every click and conversion probability is known.

x and the hidden h are standard normal. An impression is clicked with P(click | x, h), a click
converts with P(conversion | x, h). Models see x alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
Rate = Callable[[Floats, Floats], Floats]  # of x and h

_X = np.linspace(-6, 6, 601)
_H = np.linspace(-5, 5, 61)


@dataclass(frozen=True)
class World:
    """One truth."""

    name: str
    says: str
    ctr: Rate
    cvr: Rate
    hidden: bool = False  # whether h matters

    def curves(self) -> dict[str, Floats]:
        """At every x of a grid: its `density`, P(click | x), and P(conversion | do(click), x), the
        mean over everybody and not over those who click.
        """
        weight = _normal(_H) if self.hidden else np.ones(1)
        h = (_H if self.hidden else np.zeros(1))[:, None]
        mean = {
            "ctr": (self.ctr(_X[None], h) * weight[:, None]).sum(axis=0),
            "cvr": (self.cvr(_X[None], h) * weight[:, None]).sum(axis=0),
        }
        return {"x": _X, "density": _normal(_X), **mean}


@dataclass(frozen=True, eq=False)
class Impressions:
    """N rows, all (N,): the label is P(conversion) of a clicked row, or 0 and 1; 0 unclicked."""

    x: Tensor
    click: Tensor
    label: Tensor
    weight: Tensor


def population(world: World) -> Impressions:
    """Infinitely many impressions: every x (and h) of a grid once clicked and once not, weighed."""
    h = _H if world.hidden else np.zeros(1)
    weight = (_normal(_X)[:, None] * (_normal(h) if world.hidden else 1)).ravel()
    x, h = (side.ravel() for side in np.meshgrid(_X, h, indexing="ij"))
    ctr, cvr = world.ctr(x, h), world.cvr(x, h)
    return _impressions(
        np.concatenate([x, x]),
        np.repeat([True, False], len(x)),
        np.concatenate([cvr, 0 * cvr]),
        np.concatenate([weight * ctr, weight * (1 - ctr)]),
    )


def draw(world: World, rows: int, *, seed: int) -> Impressions:
    """A log of that many impressions."""
    rng = np.random.default_rng(seed)
    x, h = rng.normal(size=rows), rng.normal(size=rows)
    click = rng.random(rows) < world.ctr(x, h)
    buy = click & (rng.random(rows) < world.cvr(x, h))
    return _impressions(x, click, buy.astype(float), np.full(rows, 1 / rows))


def _impressions(x: Floats, click: NDArray[np.bool_], label: Floats, weight: Floats) -> Impressions:
    return Impressions(*map(torch.from_numpy, (x, click, label, weight)))


def _normal(x: Floats) -> Floats:
    density: Floats = np.exp(-x * x / 2)
    shares: Floats = density / density.sum()
    return shares


def _sigmoid(z: Floats) -> Floats:
    rate: Floats = 1 / (1 + np.exp(-z))
    return rate


def _clicks(x: Floats, h: Floats) -> Floats:
    return _sigmoid(1.5 * x - 2.5 + 0 * h)


def _u_shape(x: Floats, h: Floats) -> Floats:
    return _sigmoid(0.5 * x * x - 2.5 + 0 * h)


WORLDS = (
    World(
        "well specified",
        "The logit of P(conversion | click) is linear in x, and so is the model's.",
        _clicks,
        lambda x, h: _sigmoid(0.8 * x - 1 + 0 * h),
    ),
    World(
        "misspecified",
        "P(conversion | click) is U-shaped in x; the model can only draw a line through its logit.",
        _clicks,
        _u_shape,
    ),
    World(
        "misspecified, 20 times rarer",
        "The same U shape, a twentieth as high: conversions as rare as they are in practice.",
        _clicks,
        lambda x, h: _u_shape(x, h) / 20,
    ),
    World(
        "hidden confounder",
        "Something unseen makes people click and convert: those who click are not like the others.",
        lambda x, h: _sigmoid(1.5 * x - 2.5 + 1.5 * h),
        lambda x, h: _sigmoid(0.8 * x - 1.5 + 1.5 * h),
        hidden=True,
    ),
)
