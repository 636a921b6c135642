"""Request-wide numbers that formulas name: `context.<name>` and `user.<name>`.

A user or context feature is such a number when it is numeric, or categorical with a vocabulary of
numbers (hour, tab). An absent one takes the feature's declared default; a categorical one without a
default, or with a value that is no number, is NaN: the candidates it takes part in are invalid,
never silently 0.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from service.contract.features import Categorical, FeatureSchema, Numeric

SIDES = ("user", "context")

_AT_ONCE = 200  # words


def scalar_defaults(schema: FeatureSchema) -> dict[str, float]:
    """Full name -> value when absent, of every number a formula may use with this model."""
    return {name: default for name, (default, _) in scalar_ranges(schema).items()}


def scalar_ranges(schema: FeatureSchema) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """The same, each with the least and the greatest number of its vocabulary, if it has one."""
    found: dict[str, tuple[float, tuple[float, float] | None]] = {}
    for feature in schema.features:
        if feature.side not in SIDES:
            continue
        name = f"{feature.side}.{feature.name}"
        if isinstance(feature, Numeric):
            found[name] = feature.default, None
        elif isinstance(feature, Categorical) and feature.vocabulary:
            span = _number_range(feature.vocabulary)
            if span is not None:
                found[name] = to_number(feature.default), span
    return found


def _number_range(words: Sequence[str]) -> tuple[float, float] | None:
    """Least and greatest of words that are all finite numbers; None if one is not.

    There may be 100,000s of them, and requests need the interpreter: no Python for each word, nor
    one step for all of them, which would keep the lock until its end.
    """
    low, high = math.inf, -math.inf
    for start in range(0, len(words), _AT_ONCE):
        try:
            numbers = [*map(float, words[start : start + _AT_ONCE])]
        except ValueError:
            return None
        if not all(map(math.isfinite, numbers)):
            return None
        low, high = min(low, *numbers), max(high, *numbers)
    return low, high


def read_scalars(
    defaults: Mapping[str, float], user: Mapping[str, Any], context: Mapping[str, Any]
) -> dict[str, float]:
    """The values of one request for the names in `defaults`, from raw user and context features."""
    sides = {"user": user, "context": context}
    found = {}
    for full, default in defaults.items():
        side, _, name = full.partition(".")
        raw = sides[side].get(name)
        found[full] = default if raw is None else to_number(raw)
    return found


def to_number(raw: object) -> float:
    """A raw value as a number; NaN when it is none."""
    if not isinstance(raw, int | float | str):
        return math.nan
    try:
        return float(raw)
    except (ValueError, OverflowError):
        return math.nan
