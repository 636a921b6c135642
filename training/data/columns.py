"""Any CSV or Parquet log through a [columns] mapping: its files, and who, what and when."""

from pathlib import Path

import numpy as np
import polars as pl

from training.data.config import ColumnsConfig
from training.data.errors import DataError
from training.data.tables import DAY, ITEM, ORDER, ROW, USER, Table, Tables, read_table
from training.data.typed import as_days, days_of, ids_of, times_of, with_ids


def load(directory: Path, mapping: ColumnsConfig) -> Tables:
    """Read the log files one after the other, and the side tables.

    With neither `day` nor `time`, each file is a day of its own: 1, 2, 3 … in the order of `files`.

    Raises:
        DataError: no file, a missing column, or a cell that does not fit, with its place.
    """
    beside = [name for name in (mapping.users, mapping.items) if name is not None]
    paths = log_files(directory, mapping.files, beside)
    return Tables(
        log=with_keys(read_table(paths), mapping),
        users=_side(directory, mapping.users, mapping.user),
        items=_side(directory, mapping.items, mapping.item),
    )


def log_files(directory: Path, patterns: tuple[str, ...], beside: list[str]) -> list[Path]:
    """The files that the patterns name: patterns in their order, the files of one in name order."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = sorted(p for p in directory.glob(pattern) if p.is_file() and p.name not in beside)
        found |= dict.fromkeys(paths)
    if not found:
        raise DataError(f"{directory} holds no log file ({' or '.join(patterns)})")
    return list(found)


def with_keys(table: Table, mapping: ColumnsConfig) -> Table:
    """The log with @row, @day, @user, @item and @order."""
    rows = pl.int_range(len(table.frame), dtype=pl.Int64, eager=True)
    lengths = [length for _, length in table.source.files]
    order, days = rows, pl.Series(np.repeat(np.arange(1, len(lengths) + 1), lengths))
    if mapping.time is not None:
        order = times_of(table.column(mapping.time), table.source, mapping.time)
        local = (order + int(mapping.utc_offset_h * 3_600_000)).cast(pl.Datetime("ms"))
        days = as_days(local.dt.date())
    if mapping.day is not None:
        days = days_of(table.column(mapping.day), table.source, mapping.day)
    keyed = table.frame.with_columns(
        rows.alias(ROW),
        days.cast(pl.Int32).alias(DAY),
        ids_of(table, mapping.user).alias(USER),
        ids_of(table, mapping.item).alias(ITEM),
        order.alias(ORDER),
    )
    return Table(table.source, keyed)


def _side(directory: Path, file: str | None, id_column: str) -> Table | None:
    return None if file is None else with_ids(read_table([directory / file]), id_column)
