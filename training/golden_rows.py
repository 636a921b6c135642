"""Choose golden rows: real impressions, rebuilt from serving records to replay lookups."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from service.contract.encode import Array, encode_rows
from service.contract.features import FeatureSchema, Side
from service.contract.golden import encode_raw
from training.data.log import Log, Reader, Record
from training.export import ExportError

ROWS = 32
# Features are float32 and a record's JSON is float64: what is left between the two is rounding.
TOLERANCE = 1e-5


def golden_rows(
    schema: FeatureSchema, reader: Reader, directory: Path, log: Log
) -> list[dict[str, Any]]:
    """Up to 32 impressions of the log's last day in the form of a request.

    Users and items come from `reader.records` as of that day; encoding them must give what training
    saw.

    Raises:
        ExportError: a row that serving would encode differently; the sentence names the row and the
            feature.
    """
    day = int(log.day.max())
    last = log.take(np.flatnonzero(log.day == day))
    last = last.take(np.unique(np.linspace(0, last.rows - 1, ROWS).astype(np.int64)))
    users, items = reader.records(directory, day)
    user_of = _by_id(users, set(last.user_id.tolist()))
    item_of = _by_id(items, set(last.item_id.tolist()))
    raw = [
        {
            "user": _entity(user_of[last.user_id[row]], schema, "user"),
            "context": _context(schema, last, row),
            "item": _entity(item_of[last.item_id[row]], schema, "item"),
        }
        for row in range(last.rows)
    ]
    _check(schema, last, encode_raw(schema, raw))
    return raw


def _by_id(records: Iterable[Record], wanted: set[str]) -> dict[str, Record]:
    found = {record["id"]: record for record in records if record["id"] in wanted}
    if missing := sorted(wanted - found.keys()):
        raise ExportError(
            f"no serving record for {missing[0]!r}, which the log shows on its last day"
        )
    return found


def _entity(record: Record, schema: FeatureSchema, side: Side) -> dict[str, Any]:
    names = schema.raw_names[side]
    return {"id": record["id"], "features": {n: v for n, v in record.items() if n in names}}


def _context(schema: FeatureSchema, log: Log, row: int) -> dict[str, Any]:
    columns = log.columns.get("context", {})
    joined = {f.name for f in schema.value_features("context") if f.kind == "lookup"}
    names = sorted((schema.raw_names["context"] & columns.keys()) - joined)
    return dict(_present((name, columns[name][row]) for name in names))


def _present(values: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, value in values:
        plain = value.item() if isinstance(value, np.generic) else value
        if plain is not None and plain == plain:  # NaN is absent, and differs from itself
            yield name, plain


def _check(schema: FeatureSchema, log: Log, served: Mapping[str, Array]) -> None:
    for name, block in encode_rows(schema, log.columns, log.rows).items():
        near = np.isclose(served[name], block, rtol=TOLERANCE, atol=TOLERANCE)
        if not near.all():
            row, column = np.argwhere(~near)[0]
            side, feature = _feature(schema, name, int(column))
            whose = {"user": f" of user {log.user_id[row]!r}", "item": f" of {log.item_id[row]!r}"}
            raise ExportError(
                f"{log.origin.row(int(log.row[row]))}: training saw {feature!r}"
                f"{whose.get(side, '')} as {block[row, column]:.6g}, serving encodes"
                f" {served[name][row, column]:.6g} ({name}[{column}]); a feature of a user or an"
                f" item has one value on a day, here {log.day[row]}"
            )


def _feature(schema: FeatureSchema, block: str, column: int) -> tuple[Side, str]:
    """The side and the feature of a column of a block of encoded inputs."""
    side, dtype, _ = schema.inputs[block]
    if dtype == "int32":
        widths = [(feature.name, feature.ids) for feature in schema.id_features(side)]
    else:
        widths = [(feature.name, feature.width) for feature in schema.value_features(side)]
    return side, [name for name, width in widths for _ in range(width)][column]
