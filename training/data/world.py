"""A small world whose true probabilities are known: short videos with things to buy.

An impression may be clicked; a click plays the video; a play may be liked and end in a purchase.
Completion c = min(1, G·U^(1/θ)) with U uniform, so every head has a closed form:
P(c ≥ x) = 1 − (x/G)^θ and E[c] = G·θ/(θ+1)·G^−(θ+1) + 1 − G^−θ.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.config import SyntheticConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AGE_RANGES = ("18-23", "24-30", "31-40", "41-50", "51+")
GENDERS = ("f", "m")
CITY_TIERS = ("1", "2", "3", "4")
CATEGORIES = (
    *("beauty", "books", "cars", "fashion", "fitness", "food"),
    *("gadgets", "games", "home", "music", "pets", "travel"),
)
BRANDS = tuple(f"brand-{n:02d}" for n in range(40))
TAGS = tuple(f"topic-{n:02d}" for n in range(24))
TABS = ("0", "1", "2")  # feed, following, shop
SEPARATOR = "|"

LONG_VIEW_S = 18.0  # a shorter video must be played to its end
OVERRUN = 1.25  # G above
DIMENSIONS = 4


@dataclass(frozen=True)
class World:
    """Users and items drawn from a seed; `truth` is what a perfect model would answer."""

    config: SyntheticConfig

    def truth(self, user: Ints, item: Ints, *, hour: Ints, tab: Ints) -> dict[str, Floats]:
        """True heads (N,) of N impressions, given by user, item and tab numbers and the hour.

        `ctr` P(click), `vtr` P(long view), `like` P(like), each for an impression; `cvr`
        P(buy | click) and `vcr` E[completion | click].
        """
        ctr, shape, liking, buying = self._parts(user, item, hour, tab)
        mean = mean_completion(shape)
        long_view = 1 - (self._long_view_share(item) / OVERRUN) ** shape
        return {
            "ctr": ctr,
            "cvr": buying * (0.6 + 0.4 * mean),
            "vtr": ctr * long_view,
            "vcr": mean,
            "like": ctr * liking * (0.5 + mean),
        }

    def impressions(self) -> pl.DataFrame:
        """The log: who saw what, when and where, and what came of it; in time order."""
        config = self.config
        rng = np.random.default_rng((config.seed, 2))
        rows = config.days * config.impressions_per_day
        user = rng.choice(config.users, rows, p=_shares(config.users, 0.6))
        item = rng.choice(config.items, rows, p=_shares(config.items, 0.5))
        day = np.repeat(np.arange(config.days), config.impressions_per_day)
        hour = rng.choice(24, rows, p=_hours())
        tab = rng.choice(len(TABS), rows, p=(0.7, 0.1, 0.2))
        ctr, shape, liking, buying = self._parts(user, item, hour, tab)
        click = rng.random(rows) < ctr
        completion = np.minimum(1.0, OVERRUN * rng.random(rows) ** (1 / shape))
        completion = np.where(click, completion, np.nan)
        liked = click & (rng.random(rows) < liking * (0.5 + completion))
        bought = click & (rng.random(rows) < buying * (0.6 + 0.4 * completion))
        long_view = click & (completion >= self._long_view_share(item))
        start = np.datetime64(_iso(config.first_day), "ms").astype(np.int64)
        within = rng.integers(0, 3_600_000, rows)
        log = pl.DataFrame(
            {
                "user_id": self.user_ids[user],
                "item_id": self.item_ids[item],
                "time_ms": start + day * 86_400_000 + hour * 3_600_000 + within,
                "hour": hour,
                "tab": np.array(TABS)[tab],
                "click": click.astype(np.int8),
                "completion": completion.round(4),
                "long_view": long_view.astype(np.int8),
                "like": liked.astype(np.int8),
                "buy": bought.astype(np.int8),
            }
        ).with_columns(pl.col("completion").fill_nan(None))
        return log.sort("time_ms", maintain_order=True)

    @cached_property
    def user_ids(self) -> NDArray[np.object_]:
        return np.array([f"u{n}" for n in range(self.config.users)], object)

    @cached_property
    def item_ids(self) -> NDArray[np.object_]:
        return np.array([f"i{n}" for n in range(self.config.items)], object)

    @cached_property
    def users(self) -> pl.DataFrame:
        """What is known of each user; interests are `|`-separated categories."""
        drawn = self._users
        interests = [SEPARATOR.join(np.array(CATEGORIES)[row]) for row in drawn["interests"]]
        return pl.DataFrame(
            {
                "user_id": self.user_ids,
                "age_range": np.array(AGE_RANGES)[drawn["age"]],
                "gender": np.array(GENDERS)[drawn["gender"]],
                "city_tier": np.array(CITY_TIERS)[drawn["tier"]],
                "spending": drawn["spending"],
                "interests": interests,
            }
        )

    @cached_property
    def items(self) -> pl.DataFrame:
        """What is known of each item; tags are `|`-separated."""
        drawn = self._items
        return pl.DataFrame(
            {
                "item_id": self.item_ids,
                "category": np.array(CATEGORIES)[drawn["category"]],
                "brand": np.array(BRANDS)[drawn["brand"]],
                "tags": [SEPARATOR.join(np.array(TAGS)[row]) for row in drawn["tags"]],
                "videolen_s": drawn["videolen_s"],
                "price": drawn["price"],
            }
        )

    @cached_property
    def _users(self) -> dict[str, NDArray[Any]]:
        rng = np.random.default_rng((self.config.seed, 0))
        n = self.config.users
        interests = rng.random((n, len(CATEGORIES))) < 0.2
        interests[np.arange(n), rng.integers(0, len(CATEGORIES), n)] = True
        return {
            "age": rng.integers(0, len(AGE_RANGES), n),
            "gender": rng.integers(0, len(GENDERS), n),
            "tier": rng.integers(0, len(CITY_TIERS), n),
            "spending": np.exp(rng.normal(4.0, 0.7, n)).round(2),
            "interests": interests,
            "activity": rng.normal(0, 0.4, n),
            "taste": rng.normal(0, 0.4, (n, DIMENSIONS)),
        }

    @cached_property
    def _items(self) -> dict[str, NDArray[Any]]:
        rng = np.random.default_rng((self.config.seed, 1))
        n = self.config.items
        category = rng.integers(0, len(CATEGORIES), n)
        tags = rng.random((n, len(TAGS))) < 0.04
        tags[np.arange(n), 2 * category + rng.integers(0, 2, n)] = True
        return {
            "category": category,
            "brand": rng.integers(0, len(BRANDS), n),
            "tags": tags,
            "videolen_s": np.exp(rng.normal(3.3, 0.7, n)).clip(5, 300).round(1),
            "price": np.exp(rng.normal(4.0, 0.8, n)).round(2),
            "quality": rng.normal(0, 0.5, n),
            "taste": rng.normal(0, 1.0, (n, DIMENSIONS)),
        }

    @cached_property
    def _effects(self) -> dict[str, Floats]:
        rng = np.random.default_rng((self.config.seed, 3))
        return {
            "age_category": rng.normal(0, 0.4, (len(AGE_RANGES), len(CATEGORIES))),
            "gender_category": rng.normal(0, 0.3, (len(GENDERS), len(CATEGORIES))),
            "brand": rng.normal(0, 0.5, len(BRANDS)),
            "tag": rng.normal(0, 0.3, len(TAGS)),
            "tab": np.array([0.3, 0.0, -0.5]),
            "tab_buy": np.array([-0.3, 0.0, 0.9]),
        }

    def _parts(
        self, user: Ints, item: Ints, hour: Ints, tab: Ints
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """P(click), the shape θ of completion, and the bases of liking and buying, each (N,)."""
        users = {name: column[user] for name, column in self._users.items()}
        items = {name: column[item] for name, column in self._items.items()}
        effects, category = self._effects, items["category"]
        match = users["interests"][np.arange(len(user)), category].astype(float)
        taste = (users["taste"] * items["taste"]).sum(axis=1)
        topic = items["tags"] @ effects["tag"]
        group = effects["age_category"][users["age"], category]
        group = group + effects["gender_category"][users["gender"], category]
        evening = 0.2 * np.cos((hour - 21) * np.pi / 12)
        dear = np.log(items["price"]) - np.log(users["spending"])
        brand = effects["brand"][items["brand"]]
        long = np.log(items["videolen_s"] / 30)
        click = -1.1 + match + group + topic + 0.6 * items["quality"] + users["activity"] + taste
        ctr = _sigmoid(click + effects["tab"][tab] + evening)
        shape = np.exp(0.2 + 0.6 * match + 0.5 * items["quality"] + 0.4 * taste - 0.5 * long)
        liking = 0.6 * _sigmoid(-2.2 + match + items["quality"] + 0.8 * taste + 0.5 * group)
        buying = _sigmoid(-1.8 + 0.6 * match - 0.9 * dear + brand + effects["tab_buy"][tab])
        return ctr, shape.clip(0.1, 10), liking, buying

    def _long_view_share(self, item: Ints) -> Floats:
        shares: Floats = np.minimum(1.0, LONG_VIEW_S / self._items["videolen_s"][item])
        return shares


def mean_completion(shape: Floats) -> Floats:
    """E[min(1, G·U^(1/θ))]."""
    mean: Floats = shape / (shape + 1) * OVERRUN**-shape + 1 - OVERRUN**-shape
    return mean


def _sigmoid(x: Floats) -> Floats:
    y: Floats = 1 / (1 + np.exp(-x))
    return y


def _shares(n: int, exponent: float) -> Floats:
    """Zipf-like shares of n, the first the largest."""
    weights = np.arange(1, n + 1, dtype=float) ** -exponent
    shares: Floats = weights / weights.sum()
    return shares


def _hours() -> Floats:
    weights = 1.2 + np.cos((np.arange(24) - 21) * np.pi / 12)
    shares: Floats = weights / weights.sum()
    return shares


def _iso(day: int) -> str:
    return f"{day // 10_000:04d}-{day // 100 % 100:02d}-{day % 100:02d}"
