"""Request-wide numbers that formulas name: `context.<name>` and `user.<name>`.

A user or context feature is such a number when it is numeric, or categorical with a vocabulary of
numbers (hour, tab). An absent one takes the feature's declared default; a categorical one without a
default, or with a value that is no number, is NaN: the candidates it takes part in are invalid,
never silently 0.
"""

import math
from collections.abc import Mapping
from typing import Any

from service.contract.features import Categorical, FeatureSchema, Numeric

SIDES = ("user", "context")


def scalar_defaults(schema: FeatureSchema) -> dict[str, float]:
    """Full name -> value when absent, of every number a formula may use with this model."""
    defaults: dict[str, float] = {}
    for feature in schema.features:
        if feature.side not in SIDES:
            continue
        name = f"{feature.side}.{feature.name}"
        if isinstance(feature, Numeric):
            defaults[name] = feature.default
        elif isinstance(feature, Categorical) and feature.vocabulary:
            numbers = [to_number(text) for text in feature.vocabulary]
            if all(map(math.isfinite, numbers)):
                defaults[name] = to_number(feature.default)
    return defaults


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
