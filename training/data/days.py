"""Days as YYYYMMDD numbers, and inclusive ranges of them. Splits are by time, never by chance."""

import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from training.data.errors import DataError

_RANGE = re.compile(r"(?P<first>\d{1,8})?(?P<colon>:)?(?P<last>\d{1,8})?")
END_OF_TIME = 99_999_999


@dataclass(frozen=True)
class Days:
    """All days from `first` to `last`, both included."""

    first: int = 0
    last: int = END_OF_TIME

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise DataError(f"days {self.first}:{self.last} end before they begin")

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Read `20220425:20220503`, `:20220503`, `20220504:` or a single day.

        Raises:
            DataError: anything else, or a range that ends before it begins.
        """
        match = _RANGE.fullmatch(str(text).strip())
        if not match or not (match["first"] or match["last"]):
            raise DataError(f"days {text!r} are not FIRST:LAST with days as YYYYMMDD")
        first = int(match["first"] or 0)
        if not match["colon"]:
            return cls(first, first)
        return cls(first, int(match["last"] or END_OF_TIME))

    def __str__(self) -> str:
        first = str(self.first) if self.first else ""
        return f"{first}:{self.last if self.last != END_OF_TIME else ''}"

    def contains(self, days: NDArray[np.int32]) -> NDArray[np.bool_]:
        """(N,) days -> (N,) whether each lies in the range."""
        mask: NDArray[Any] = (days >= self.first) & (days <= self.last)
        return mask
