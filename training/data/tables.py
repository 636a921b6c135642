"""Raw tables as the files have them: the log and what stands beside it. CSV cells stay text."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from training.data.errors import DataError, MissingColumn

# Columns that every log table has besides the raw ones; no raw column starts so.
ROW, DAY, USER, ITEM, ORDER = "@row", "@day", "@user", "@item", "@order"
ID = "@id"  # of a users or items table


@dataclass(frozen=True)
class Source:
    """The files that a frame is read from, one after the other, with their rows.

    `skipped` rows of them come before the frame's first, where it is a piece of them.
    """

    files: tuple[tuple[str, int], ...]
    skipped: int = 0

    def __str__(self) -> str:
        first = self.files[0][0]
        return first if len(self.files) == 1 else f"{first} and {len(self.files) - 1} more"

    @property
    def whole(self) -> "Source":
        """All rows of the files."""
        return Source(self.files)

    def place(self, row: int) -> tuple[str, int]:
        """A row of the frame -> its file and the 0-based row in there."""
        row += self.skipped
        for name, rows in self.files:
            if row < rows:
                return name, row
            row -= rows
        raise IndexError(row)


@dataclass(frozen=True, eq=False)
class Table:
    """A frame and where it comes from."""

    source: Source
    frame: pl.DataFrame

    def column(self, name: str) -> pl.Series:
        if name not in self.frame.columns:
            known = [c for c in self.frame.columns if not c.startswith("@")]
            raise MissingColumn(str(self.source), name, known)
        return self.frame[name]

    def has(self, name: str) -> bool:
        return name in self.frame.columns


@dataclass(frozen=True, eq=False)
class Tables:
    """One log with its side tables.

    `log` has @row int64, @day int32 (YYYYMMDD), @user and @item text, @order int64 (rises with
    time); `users` and `items` have @id text, once each.
    """

    log: Table
    users: Table | None = None
    items: Table | None = None

    def side(self, side: str) -> Table | None:
        return {"user": self.users, "item": self.items}.get(side)


def newest(pieces: Iterable[Tables], as_of: int) -> Tables:
    """Of all impressions up to a day, each user's and each item's last: what records are made of.

    Their rows are no longer those of the files.
    """
    kept: pl.DataFrame | None = None
    for tables in pieces:
        frame = tables.log.frame.filter(pl.col(DAY) <= as_of)
        frame = frame if kept is None else pl.concat([kept, frame], how="vertical_relaxed")
        last = pl.int_range(pl.len()) == pl.len() - 1
        frame = frame.sort(DAY, ORDER, ROW)
        kept = frame.filter(last.over(USER) | last.over(ITEM))
    assert kept is not None, "a log has a piece"
    return Tables(Table(tables.log.source.whole, kept), tables.users, tables.items)


def read_table(paths: list[Path]) -> Table:
    """The files one after the other; all must have the columns of the first.

    Raises:
        DataError: a file that is missing, broken or of another shape than the first.
    """
    frames = [_frame(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if set(frame.columns) != set(frames[0].columns):
            differing = sorted(set(frame.columns) ^ set(frames[0].columns))
            raise DataError(
                f"{path.name} and {paths[0].name} differ in columns: {', '.join(differing)}"
            )
    source = Source(tuple((p.name, len(f)) for p, f in zip(paths, frames, strict=True)))
    try:
        frame = pl.concat([f.select(frames[0].columns) for f in frames], how="vertical_relaxed")
    except pl.exceptions.PolarsError as err:
        raise DataError(f"{source} do not fit together: {str(err).splitlines()[0]}") from err
    return Table(source, frame)


def _frame(path: Path) -> pl.DataFrame:
    """A CSV file with every cell as text, or a Parquet file as it is."""
    try:
        match path.suffix:
            case ".csv":
                return pl.read_csv(path, infer_schema=False, glob=False)
            case ".parquet":
                return pl.read_parquet(path, glob=False)
    except FileNotFoundError as err:
        raise DataError(f"{path} does not exist") from err
    except (pl.exceptions.PolarsError, OSError) as err:
        raise DataError(f"{path} cannot be read: {str(err).splitlines()[0]}") from err
    raise DataError(f"{path} is neither .csv nor .parquet")
