"""The reader behind all kinds of log: tables and mapping in; log, schema and records out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.features import SIDES, FeatureSchema, Side
from training.data import recent, records
from training.data.assemble import Assembled, assemble, raw_column
from training.data.columns import WHOLE, Stripe
from training.data.config import ColumnsConfig, FeaturesConfig
from training.data.days import Days
from training.data.errors import DataError
from training.data.history_config import HistoryConfig
from training.data.layout import Own, place_all
from training.data.log import Log, Record
from training.data.schema import schema_of
from training.data.seen import Seen
from training.data.tables import DAY, ITEM, ROW, USER, Tables, newest


@dataclass(frozen=True, eq=False)
class TableReader:
    """A `Reader` of whatever `load` finds in a directory."""

    load: Callable[[Path], Tables]
    mapping: ColumnsConfig
    history: HistoryConfig
    chosen: FeaturesConfig
    # Of a log larger than memory, or of a stripe of it.
    load_pieces: Callable[..., Iterator[Tables]] | None = None

    def read(self, directory: Path, days: Days | None = None) -> Log:
        if self.load_pieces is None:
            log = log_of(assemble(self.load(directory), self.mapping), self.history, self.chosen)
            return log if days is None else log.of(days)
        pieces = (log if days is None else log.of(days) for log in self.pieces(directory))
        first = next(pieces)
        return Log.of_pieces([first, *(log for log in pieces if log.rows)])

    def pieces(self, directory: Path, stripe: Stripe = WHOLE) -> Iterator[Log]:
        """The same impressions or a stripe of them, `rows_at_once` of them at a time."""
        assert self.load_pieces is not None, "the configuration names rows_at_once"
        for tables in self.load_pieces(directory, stripe):
            yield log_of(assemble(tables, self.mapping), self.history, self.chosen)

    def features(self, log: Log) -> FeatureSchema:
        return self.features_seen(self.seen(log))

    def seen(self, log: Log) -> Seen:
        """What `features` takes from these rows; pieces of a log add up."""
        return Seen.of(log, self.mapping)

    def features_seen(self, seen: Seen) -> FeatureSchema:
        """The schema of all rows that were seen."""
        return schema_of(seen, self.mapping, self.history, self.chosen)

    def records(self, directory: Path, as_of: int) -> tuple[Iterator[Record], Iterator[Record]]:
        if self.load_pieces is None:
            tables = self.load(directory)
        else:
            tables = newest(self.load_pieces(directory), as_of)
        assembled = assemble(tables, self.mapping)
        _require_begun(assembled, directory, as_of)
        users, items = (
            records.of_side(side, assembled, self.history, self.chosen, as_of)
            for side in records.SIDES
        )
        return users, items


def _require_begun(assembled: Assembled, directory: Path, as_of: int) -> None:
    """A mistyped day would otherwise give records without any history, and nobody would notice."""
    first = assembled.frame[DAY].min()
    if first is None or as_of < first:
        begins = "is empty" if first is None else f"begins on {first}"
        raise DataError(f"as of {as_of}: the log in {directory} {begins}")


def log_of(assembled: Assembled, history: HistoryConfig, chosen: FeaturesConfig) -> Log:
    """Impressions with their history joined; rows in the order of the frame."""
    mapping, frame, labels = assembled.mapping, assembled.frame, assembled.labels
    columns: dict[Side, dict[str, NDArray[Any]]] = {side: {} for side in SIDES}
    for feature in mapping.features:
        values = raw_column(feature, frame[feature.name], frame[DAY])
        columns[feature.side][feature.name] = values
    for wanted in history.recent:
        where = None if wanted.where is None else assembled.positive(wanted.where)
        columns["user"][wanted.name] = recent.of_rows(frame, wanted.length, where)
    for placed in place_all(mapping, history, chosen):
        numbers = placed.rates.of_rows(frame, labels)
        if isinstance(placed, Own):
            for at, own in enumerate(placed.features):
                columns[placed.side][own.name] = numbers[:, at]
        else:
            columns[placed.lookup.side][placed.lookup.name] = numbers
    return Log(
        row=frame[ROW].to_numpy(),
        day=frame[DAY].to_numpy(),
        user_id=frame[USER].to_numpy(),
        item_id=frame[ITEM].to_numpy(),
        columns=columns,
        labels={name: values.astype(np.float32) for name, values in labels.items()},
        spaces=dict(assembled.spaces),
        origin=assembled.origin,
    )
