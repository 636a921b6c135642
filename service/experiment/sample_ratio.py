"""Sample-ratio check: are the arms of an experiment served to as many units as planned?

A mismatch says that an arm itself decides who is counted (it crashes, it is slow, a client drops
it), so that its other figures compare different people. Pearson's χ² over distinct units; requests
of one unit come together and would find a mismatch where none is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, exp, gamma, pow, sqrt
from typing import Final

ALARM_P = 0.001  # it is looked at again and again: 0.05 would cry wolf every day
LEAST_EXPECTED = 5.0  # units of an arm; below that χ² is no good approximation

AS_PLANNED: Final = "as planned"
MISMATCH: Final = "mismatch"
TOO_FEW: Final = "too few units"


@dataclass(frozen=True)
class Ratio:
    """`expected`: units per arm if all were as planned. `p_value`: of a χ² this large by chance."""

    expected: tuple[float, ...]
    statistic: float
    p_value: float
    verdict: str


def sample_ratio(units: Sequence[int], sizes: Sequence[float]) -> Ratio:
    """Check counted units against the arms' relative sizes, in the same order.

    Arms of size 0 are left out: nobody can be in them by hash.
    """
    total = sum(count for count, size in zip(units, sizes, strict=True) if size > 0)
    whole = sum(sizes) or 1
    expected = tuple(total * size / whole for size in sizes)
    tested = [(n, e) for n, e, size in zip(units, expected, sizes, strict=True) if size > 0]
    if len(tested) < 2 or min(e for _, e in tested) < LEAST_EXPECTED:
        return Ratio(expected, 0.0, 1.0, TOO_FEW)
    statistic = sum((n - e) ** 2 / e for n, e in tested)
    p_value = chi_square_tail(statistic, len(tested) - 1)
    return Ratio(expected, statistic, p_value, MISMATCH if p_value < ALARM_P else AS_PLANNED)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """P(χ² > statistic) for whole degrees of freedom, in closed form."""
    half = statistic / 2
    if half > 700:
        return 0.0  # below the smallest float64
    odd = degrees % 2
    tail = erfc(sqrt(half)) if odd else 0.0
    powers = (i - 0.5 if odd else i - 1.0 for i in range(1, degrees // 2 + 1))
    return tail + exp(-half) * sum(pow(half, power) / gamma(power + 1) for power in powers)
