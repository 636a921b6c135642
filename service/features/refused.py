"""Which of many raw values their feature refuses: found by asking `encode`, which has the rules."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.contract.encode import Column, encode_side, look_up, numbers
from service.contract.errors import EncodeError
from service.contract.features import FeatureSchema, IdFeature, Lookup, Side

Check = Callable[[list[Any]], object]  # raises EncodeError when one of the values is refused


@dataclass(frozen=True)
class Refused:
    """One refused value: why, what may stand there instead, and how many values that takes away."""

    cause: EncodeError
    instead: Any = None
    count: int = 1


def refused_values(
    schema: FeatureSchema, side: Side, name: str, values: Column
) -> dict[int, Refused]:
    """Row -> refusal, ascending. Of a map only the refused entries are taken away."""
    found: dict[int, Refused] = {}
    for check in _checks(schema, side, name):
        for row, cause in _search(check, list(values)).items():
            found[row] = Refused(cause)
    for lookup in _lookups(schema):
        if (lookup.source_side, lookup.source) == (side, name):
            for row, table in enumerate(values):
                if table is not None and (refusal := _refused_entries(lookup, table)):
                    found[row] = refusal
    return dict(sorted(found.items()))


def _checks(schema: FeatureSchema, side: Side, name: str) -> Iterator[Check]:
    feature = schema.by_name.get(name)
    if feature is not None and feature.side == side and not isinstance(feature, Lookup):
        if isinstance(feature, IdFeature):
            # the vocabulary, long or another feature's, does not decide whether a value is taken
            feature = feature.model_copy(
                update={"vocabulary": None, "shares": None, "hash_buckets": 1}
            )
        alone = FeatureSchema(features=(feature,))
        yield lambda values: encode_side(alone, side, {name: values}, len(values))
    for lookup in _lookups(schema):
        if (lookup.key_side, lookup.key) == (side, name):
            yield lambda keys, lookup=lookup: look_up(lookup, ({},), keys, len(keys))  # type: ignore[misc]
    if side == "item" and any(a.name == name for a in schema.attributes):
        yield lambda values: numbers(name, values, 0.0, len(values))


def _lookups(schema: FeatureSchema) -> list[Lookup]:
    return [f for f in schema.features if isinstance(f, Lookup)]


def _refused_entries(lookup: Lookup, table: Any) -> Refused | None:
    if not isinstance(table, Mapping):
        return Refused(EncodeError(lookup.source, 0, table, "is not a map of key to numbers"))
    keys = list(table)
    causes = _search(lambda some: look_up(lookup, (table,), some, len(some)), keys)
    if not causes:
        return None
    bad = {keys[at] for at in causes}
    instead = {key: entry for key, entry in table.items() if key not in bad}
    return Refused(next(iter(causes.values())), instead, len(bad))


def _search(check: Check, values: list[Any], start: int = 0) -> dict[int, EncodeError]:
    """Positions that `check` refuses, by halving: a few among many cost a few dozen calls."""
    try:
        check(values)
    except EncodeError as err:
        if len(values) == 1:
            return {start: err}
    else:
        return {}
    half = len(values) // 2
    return _search(check, values[:half], start) | _search(check, values[half:], start + half)
