"""Any CSV or Parquet log through a [columns] mapping: its files, and who, what and when."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.config import ColumnsConfig
from training.data.errors import DataError
from training.data.tables import DAY, ITEM, ORDER, ROW, USER, Source, Table, Tables, read_table
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


@dataclass(frozen=True)
class Stripe:
    """Some row groups of a log: every row group is in one of `of` stripes."""

    number: int = 0
    of: int = 1


WHOLE = Stripe()


def load_pieces(
    directory: Path, stripe: Stripe = WHOLE, *, mapping: ColumnsConfig, rows: int
) -> Iterator[Tables]:
    """The same log or a stripe of it, at most `rows` rows at a time; side tables stay in memory.

    Row groups are dealt in their order, each to the stripe that has the fewest rows so far; those
    of other stripes are not read.

    Raises:
        DataError: as `load` does, or a log file that is not Parquet.
    """
    beside = [name for name in (mapping.users, mapping.items) if name is not None]
    paths = log_files(directory, mapping.files, beside)
    users = _side(directory, mapping.users, mapping.user)
    items = _side(directory, mapping.items, mapping.item)
    files = tuple((path.name, _parquet(path).metadata.num_rows) for path in paths)
    dealt, skipped = [0] * stripe.of, 0
    for path in paths:
        file = _parquet(path)
        for length, groups in _runs(file, stripe, dealt):
            began = skipped
            for batch in file.iter_batches(rows, groups) if groups else ():
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                log = with_keys(Table(Source(files, began), frame), mapping)
                began += len(frame)
                yield Tables(log, users, items)
            skipped += length


def _runs(
    file: pq.ParquetFile, stripe: Stripe, dealt: list[int]
) -> Iterator[tuple[int, list[int]]]:
    """Neighbouring row groups that are all in the stripe or all not in it: their rows, and their
    numbers where they are.

    Args:
        dealt: rows of every stripe so far; added to.
    """
    lengths = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    mine = []
    for length in lengths:
        least = dealt.index(min(dealt))
        dealt[least] += length
        mine.append(least == stripe.number)
    for inside, run in groupby(range(len(lengths)), key=mine.__getitem__):
        groups = list(run)
        yield sum(lengths[group] for group in groups), groups if inside else []


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as err:
        said = str(err).splitlines()[0]
        raise DataError(f"{path} cannot be read in pieces, as Parquet can: {said}") from err


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
    first = table.source.skipped
    rows = pl.int_range(first, first + len(table.frame), dtype=pl.Int64, eager=True)
    ends = np.cumsum([length for _, length in table.source.files])
    order, days = rows, pl.Series(1 + np.searchsorted(ends, rows.to_numpy(), side="right"))
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
