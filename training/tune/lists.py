"""Logged rows in the lists that users saw: heads, attributes and outcomes by row."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.fusion import Formula
from training.tune.errors import TuneError

LABEL = "label."
_ITEM = "item."
_REQUEST_WIDE = ("user.", "context.")
_KEYS = {"row", "user_id", "item_id", "day", "request_id", "propensity", "shown"}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lists:
    """N rows in L lists; the rows of a list stand together, in the order of the file.

    Attributes:
        heads: (N,) by head name.
        attributes: (N,) by the name a formula gives them: `videolen_s`, `context.hour`.
        labels: (N,) by label name; NaN where unknown.
        of_list: (N,) number of the row's list, from 0, rising.
        of_user: (N,) number of the row's user.
        user: (N,) user ids.
        propensity: (N,) chance with which the row was shown, or None where the log has none.
        shown: (N,) whether the user saw the row; all, unless the file says otherwise.
    """

    heads: Mapping[str, Floats]
    attributes: Mapping[str, Floats]
    labels: Mapping[str, Floats]
    of_list: NDArray[np.int64]
    of_user: NDArray[np.int64]
    user: NDArray[np.object_]
    propensity: Floats | None
    shown: NDArray[np.bool_]

    @property
    def rows(self) -> int:
        return len(self.of_list)

    @property
    def count(self) -> int:
        """How many lists there are."""
        return int(self.of_list[-1]) + 1 if self.rows else 0

    def column(self, name: str) -> Floats:
        """A label, or else an attribute.

        Raises:
            TuneError: neither.
        """
        for columns in (self.labels, self.attributes):
            if name in columns:
                return columns[name]
        known = ", ".join([*self.labels, *self.attributes])
        raise TuneError(f"there is no label or attribute {name!r} (known: {known})")

    def with_label(self, name: str, values: Floats) -> "Lists":
        return replace(self, labels={**self.labels, name: values})

    def take(self, rows: NDArray[np.bool_]) -> "Lists":
        """Some lists: `rows` holds all rows of a list or none."""
        return Lists(
            heads={name: values[rows] for name, values in self.heads.items()},
            attributes={name: values[rows] for name, values in self.attributes.items()},
            labels={name: values[rows] for name, values in self.labels.items()},
            of_list=np.unique(self.of_list[rows], return_inverse=True)[1],
            of_user=self.of_user[rows],
            user=self.user[rows],
            propensity=None if self.propensity is None else self.propensity[rows],
            shown=self.shown[rows],
        )

    def split(self, share: float, seed: int) -> tuple["Lists", "Lists"]:
        """(the rest, about `share` of the users): all lists of a user are on one side."""
        names, of = np.unique(self.user.astype(str), return_inverse=True)
        drawn = [zlib.crc32(f"{seed}:{name}".encode()) / 2**32 < share for name in names]
        held = np.array(drawn, bool)[of]
        return self.take(~held), self.take(held)

    def score(self, formula: Formula) -> Floats:
        """(N,) scores; a candidate whose score is invalid stands behind all others."""
        columns = {**self.heads, **self.attributes}
        if formula.by_itself:
            found = formula(columns, rows=self.rows)
            return np.where(found.valid, found.values, -np.inf)
        used = {n: columns[n] for n in formula.heads | formula.attributes}
        edges = [*np.flatnonzero(np.diff(self.of_list, prepend=-1)).tolist(), self.rows]
        scores = np.empty(self.rows)
        for first, last in pairwise(edges):
            part = {name: values[first:last] for name, values in used.items()}
            found = formula(part, rows=last - first)
            scores[first:last] = np.where(found.valid, found.values, -np.inf)
        return scores


def read_lists(
    source: Path | pl.DataFrame, *, list_by: Sequence[str] = (), propensity: str | None = None
) -> Lists:
    """Read what `finerank evaluate --predictions` wrote.

    Args:
        list_by: columns whose equal values make a list; default `request_id` where there is one,
            else `user_id` and `day`.
        propensity: column of the chance with which the running policy showed the row; default
            `propensity` where there is one.

    Raises:
        TuneError: a column that is not there, or a propensity outside (0, 1].
    """
    frame = source if isinstance(source, pl.DataFrame) else pl.read_parquet(source)
    keys = list(list_by) or (["request_id"] if "request_id" in frame else ["user_id", "day"])
    name = propensity or ("propensity" if "propensity" in frame else None)
    needed = [*keys, "user_id", *([name] if name else [])]
    if missing := [key for key in needed if key not in frame]:
        raise TuneError(
            f"the predictions have no column {missing[0]!r} (they have: {', '.join(frame.columns)})"
        )
    if not len(frame):
        raise TuneError("the predictions hold no row")
    of_list = frame.select(pl.struct(keys).rank("dense").cast(pl.Int64) - 1).to_series()
    frame = frame.with_columns(of_list.alias("@list")).sort("@list", maintain_order=True)
    heads, attributes, labels = {}, {}, {}
    for column in frame.columns:
        if column.startswith(LABEL):
            labels[column.removeprefix(LABEL)] = _floats(frame[column])
        elif column.startswith(_ITEM):
            attributes[column.removeprefix(_ITEM)] = _floats(frame[column])
        elif column.startswith(_REQUEST_WIDE):
            attributes[column] = _floats(frame[column])
        elif column not in {*_KEYS, *needed, "@list"} and frame[column].dtype.is_float():
            heads[column] = _floats(frame[column])
    user = frame["user_id"].cast(pl.String)
    return Lists(
        heads=heads,
        attributes={n: v for n, v in attributes.items() if n not in heads},
        labels=labels,
        of_list=frame["@list"].to_numpy(),
        of_user=user.rank("dense").cast(pl.Int64).to_numpy(),
        user=user.to_numpy(),
        propensity=None if name is None else _chances(name, _floats(frame[name])),
        shown=frame["shown"].cast(pl.Boolean).to_numpy()
        if "shown" in frame
        else np.ones(len(frame), bool),
    )


def _floats(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _chances(name: str, values: Floats) -> Floats:
    wrong = np.flatnonzero(~((values > 0) & (values <= 1)))
    if len(wrong):
        raise TuneError(f"propensity {name!r} is {values[wrong[0]]:g} in some row: not in (0, 1]")
    return values
