"""What strictly earlier days say: past means and counts by one key or a pair of keys.

Sums are kept in whole millionths, so they are the same in any order, and numbers are rounded to
5 decimals where they are made, so they survive JSON exactly: what is written for day D equals
what a training row of day D has.
N rows, W numbers a key: one rate an outcome, then log1p of the number of impressions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.history_config import Outcome
from training.data.tables import DAY

MILLIONTHS = 1_000_000
DECIMALS = 5
IMPRESSIONS = "impressions"  # log1p of how many
_COUNT = "@count"
_PLACE = "@place"


@dataclass(frozen=True)
class Rates:
    """Past means of `outcomes` by the columns `keys` of a frame; the last key may be a list."""

    keys: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*(f"{o.label}_rate" for o in self.outcomes), IMPRESSIONS)

    @property
    def default(self) -> tuple[float, ...]:
        """The numbers of a key without history."""
        return (*(o.prior for o in self.outcomes), 0.0)

    def of_rows(
        self, frame: pl.DataFrame, labels: Mapping[str, NDArray[np.float64]]
    ) -> NDArray[np.float32]:
        """(N, W): for each row, the numbers of its key over the days before its own.

        A list takes the mean over those of its values that have history.
        """
        several = frame.schema[self.keys[-1]] == pl.List
        rows = frame.select(DAY, *self.keys).with_row_index("@at")
        if several:
            places = pl.int_ranges(pl.col(self.keys[-1]).list.len()).alias(_PLACE)
            rows = rows.with_columns(places).explode(self.keys[-1], _PLACE, empty_as_null=False)
        before = self._before(self._daily(frame, labels, rows))
        found = rows.join(before, on=[*self.keys, DAY], how="inner")
        found = found.filter(pl.col(_COUNT) > 0)
        total = np.zeros((len(frame), len(self.columns)))
        entries = np.zeros(len(frame))
        # place by place: the encoder adds the entries of a list in this order
        for place in found[_PLACE].unique().sort() if several else [None]:
            part = found if place is None else found.filter(pl.col(_PLACE) == place)
            at = part["@at"].to_numpy()
            total[at] += self._numbers(part).to_numpy()
            entries[at] += 1
        known = entries > 0
        values = np.tile(np.array(self.default, np.float32), (len(frame), 1))
        values[known] = total[known] / entries[known, None]
        return values

    def as_of(
        self, frame: pl.DataFrame, labels: Mapping[str, NDArray[np.float64]], day: int
    ) -> pl.DataFrame:
        """Keys with history before `day`, and their numbers: columns `keys`, then `columns`."""
        rows = frame.select(DAY, *self.keys).with_row_index("@at")
        if frame.schema[self.keys[-1]] == pl.List:
            rows = rows.explode(self.keys[-1], empty_as_null=False)
        rows = rows.filter(pl.col(DAY) < day)
        daily = self._daily(frame, labels, rows).drop(DAY)
        sums = daily.group_by(self.keys, maintain_order=True).sum().sort(self.keys)
        return sums.select(*self.keys).hstack(self._numbers(sums))

    def _daily(
        self,
        frame: pl.DataFrame,
        labels: Mapping[str, NDArray[np.float64]],
        rows: pl.DataFrame,
    ) -> pl.DataFrame:
        """Sums by key and day, in whole millionths. `rows` has @at, @day and the keys."""
        outcomes = {}
        for outcome in self.outcomes:
            label = labels[outcome.label]
            known = ~np.isnan(label)
            millionths = np.rint(np.where(known, label, 0.0) * MILLIONTHS).astype(np.int64)
            outcomes[f"@sum_{outcome.label}"] = millionths
            outcomes[f"@n_{outcome.label}"] = known.astype(np.int64)
        sums = pl.DataFrame(outcomes, height=len(frame)).with_row_index("@at")
        keyed = rows.select("@at", DAY, *self.keys).drop_nulls()
        keyed = keyed.join(sums, on="@at", how="left").drop("@at")
        counted = keyed.with_columns(pl.lit(1, pl.Int64).alias(_COUNT))
        return counted.group_by(*self.keys, DAY).sum().sort(*self.keys, DAY)

    def _before(self, daily: pl.DataFrame) -> pl.DataFrame:
        """The same keys and days with sums over the days before: differences of running totals."""
        sums = [c for c in daily.columns if c not in (*self.keys, DAY)]
        totals = np.zeros((len(daily) + 1, len(sums)), np.int64)
        np.cumsum(daily.select(sums).to_numpy(), axis=0, out=totals[1:])
        group = daily.select(pl.struct(self.keys).rle_id()).to_series().to_numpy()
        begin = np.searchsorted(group, group)  # rows are sorted by key, then day
        before = pl.DataFrame(totals[:-1] - totals[begin], schema=sums)
        return daily.select(*self.keys, DAY).hstack(before)

    def _numbers(self, sums: pl.DataFrame) -> pl.DataFrame:
        """Sums -> rates and log1p counts, rounded."""
        rates = [
            (
                (pl.col(f"@sum_{o.label}") / MILLIONTHS + o.strength * o.prior)
                / (pl.col(f"@n_{o.label}") + o.strength)
            )
            .round(DECIMALS)
            .alias(f"{o.label}_rate")
            for o in self.outcomes
        ]
        return sums.select(*rates, pl.col(_COUNT).log1p().round(DECIMALS).alias(IMPRESSIONS))
