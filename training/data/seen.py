"""What rows show of every feature, as the schema needs it; pieces of a log add up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.config import ColumnsConfig
from training.data.log import Log

NUMBERS = ("numeric", "age_days")  # kinds of features whose values are numbers
_SAMPLE = 100_000


@dataclass(frozen=True, eq=False)
class Numbers:
    """Known values of one feature: their range, and an even sample of them, sorted.

    Every value of the sample stands for `step` values: 1 as long as nothing was added up.
    """

    sample: NDArray[np.float64]
    least: float
    most: float
    step: int = 1

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Self:
        known = np.sort(values[~np.isnan(values)])
        least, most = (known[0], known[-1]) if len(known) else (np.nan, np.nan)
        return cls(known, float(least), float(most))

    def plus(self, other: Self) -> "Numbers":
        step = max(self.step, other.step)
        parts = (self.sample[:: step // self.step], other.sample[:: step // other.step])
        sample = np.sort(np.concatenate(parts))
        while len(sample) > _SAMPLE:
            sample, step = sample[::2], step * 2
        least, most = np.fmin(self.least, other.least), np.fmax(self.most, other.most)
        return Numbers(sample, float(least), float(most), step)


@dataclass(frozen=True, eq=False)
class Seen:
    """Ids with how often they were seen (columns `value` text, `count`), and numbers, by feature.

    Ids are counted exactly, however many pieces are added up.
    """

    counts: Mapping[str, pl.DataFrame]
    numbers: Mapping[str, Numbers]

    @classmethod
    def of(cls, log: Log, mapping: ColumnsConfig) -> Self:
        counts, numbers = {}, {}
        for column in mapping.features:
            values = log.columns[column.side][column.name]
            if column.kind in NUMBERS:
                numbers[column.name] = Numbers.of(values)
            elif column.shares is None and column.hash_buckets is None:
                counts[column.name] = _counts(values)
        return cls(counts, numbers)

    def plus(self, other: Self) -> "Seen":
        return Seen(
            {
                name: pl.concat([mine, other.counts[name]]).group_by("value").sum()
                for name, mine in self.counts.items()
            },
            {name: mine.plus(other.numbers[name]) for name, mine in self.numbers.items()},
        )


def _counts(values: NDArray[np.object_]) -> pl.DataFrame:
    series = pl.Series("value", values.tolist(), strict=False)
    if series.dtype == pl.List:
        series = series.explode()
    counts = series.cast(pl.String).drop_nulls().value_counts(name="count")
    return counts.cast({"count": pl.Int64})
