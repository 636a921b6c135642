"""Where history goes: which side carries it, under which names, as which schema features."""

from collections.abc import Iterator
from dataclasses import dataclass

from service.contract.features import Lookup, Numeric, Side
from training.data.config import ColumnsConfig, FeaturesConfig
from training.data.errors import DataError
from training.data.history import IMPRESSIONS, Rates
from training.data.history_config import HistoryConfig, RateTable


@dataclass(frozen=True)
class Own:
    """Rates of one key: numbers that the user or item itself carries."""

    side: Side
    rates: Rates
    stem: str

    @property
    def features(self) -> tuple[Numeric, ...]:
        return tuple(
            Numeric(
                name=f"{self.stem}_{column}", side=self.side, default=default, unit=_unit(column)
            )
            for column, default in zip(self.rates.columns, self.rates.default, strict=True)
        )


@dataclass(frozen=True)
class Pair:
    """Rates of two keys: a map that user or item carries, looked up by the other side's value."""

    rates: Rates  # keys: (source, key)
    lookup: Lookup

    @property
    def features(self) -> tuple[Lookup]:
        return (self.lookup,)


def place_all(
    mapping: ColumnsConfig, history: HistoryConfig, chosen: FeaturesConfig
) -> Iterator[Own | Pair]:
    """Every table that the chosen features read."""
    for table in history.rates:
        placed = place(table, mapping, history)
        names = [f.name for f in placed.features]
        if not all(chosen.excludes(name) for name in names):
            yield placed


def place(table: RateTable, mapping: ColumnsConfig, history: HistoryConfig) -> Own | Pair:
    """Decide who carries the table.

    Raises:
        DataError: keys that are no features, have no ids, or sit where no record can carry them.
    """
    features = {f.name: f for f in mapping.features}
    said = f"history by {' x '.join(table.by)}"
    for name in table.by:
        if name not in features:
            raise DataError(f"{said}: {name!r} is no feature (features: {', '.join(features)})")
        if features[name].kind in ("numeric", "age_days", "sequence"):
            raise DataError(
                f"{said}: {name!r} is {features[name].kind}; only sets of values have rates"
            )
    outcomes = history.outcomes_of(table)
    sides = {name: features[name].side for name in table.by}
    keys = sorted(table.by, key=lambda name: ("user", "item", "context").index(sides[name]))
    if features[keys[0]].kind == "multi":
        raise DataError(
            f"{said}: {keys[0]!r} is a list; a list can only be looked up, by the user's map"
        )
    rates = Rates(tuple(keys), outcomes)
    match [sides[key] for key in keys]:
        case ["user"] | ["item"] as only:
            return Own(only[0], rates, table.stem)
        case ["user" | "item" as source, "item" | "context" as key] if source != key:
            lookup = Lookup(
                name=f"{table.stem}_rates",
                side="context" if (source, key) == ("user", "context") else "cross",
                source=table.stem,
                source_side=source,
                key=keys[1],
                key_side=key,
                columns=rates.columns,
                default=rates.default,
            )
            return Pair(rates, lookup)
        case found:
            raise DataError(
                f"{said}: {' x '.join(found)} has nobody to carry it;"
                " give a user or item feature, or one of them with one of another side"
            )


def _unit(column: str) -> str:
    return "log1p(impressions)" if column == IMPRESSIONS else "mean"
