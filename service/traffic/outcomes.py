"""What users did, joined to logged requests by their id: per-arm means with confidence intervals.

An outcome counts as the sum over a request's rows; a request without a row has 0 of everything.
Arms are drawn by user, so the intervals treat all requests of a user as one observation.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as arrow
import pyarrow.csv as csv
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from service.traffic.errors import FileGone, TrafficError
from service.traffic.log_files import LogFile, open_file

REQUEST, ITEM, PROPENSITY = "request_id", "item_id", "propensity"
CONTROL = "control"
_Z = 1.959964  # 95 %

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """N rows of a file: request ids, perhaps item ids and propensities, outcomes by name."""

    request: Sequence[str]
    item: Sequence[str] | None
    propensity: Floats | None
    values: Mapping[str, Floats]


def read_outcomes(path: Path) -> Outcomes:
    """Read .parquet or .csv: `request_id`, numbers, perhaps `item_id` and `propensity`.

    Raises:
        TrafficError: another suffix, no such file, no request ids, no numbers, a wrong propensity.
    """
    readers = {".parquet": parquet.read_table, ".csv": _read_csv}
    if path.suffix not in readers:
        raise TrafficError(f"{path}: outcomes are read from {' or '.join(readers)}")
    try:
        table = readers[path.suffix](path)
    except (arrow.ArrowException, OSError) as err:
        raise TrafficError(f"{path}: cannot be read: {err}") from err
    if REQUEST not in table.column_names:
        raise TrafficError(f"{path}: no column {REQUEST!r} ({', '.join(table.column_names)})")
    numbers = {
        field.name: _floats(table[field.name])
        for field in table.schema
        if field.name not in {REQUEST, ITEM} and _is_number(field.type)
    }
    chances = numbers.pop(PROPENSITY, None)
    if chances is not None and not ((chances > 0) & (chances <= 1)).all():
        wrong = chances[~((chances > 0) & (chances <= 1))][0]
        raise TrafficError(f"{path}: a propensity is {wrong:g}, not in (0, 1]")
    if not numbers:
        raise TrafficError(f"{path}: no column of numbers beside the ids")
    items = table[ITEM].cast(arrow.string()).to_pylist() if ITEM in table.column_names else None
    return Outcomes(table[REQUEST].cast(arrow.string()).to_pylist(), items, chances, numbers)


@dataclass(frozen=True)
class Mean:
    """A mean a request and half the width of its 95 % interval; NaN with fewer than two users."""

    requests: int
    users: int
    value: float
    error: float  # standard error

    @property
    def half_width(self) -> float:
        return _Z * self.error


@dataclass(frozen=True)
class Arm:
    """One arm of a layer, and its difference to the control arm, None for that one itself."""

    layer: str
    arm: str
    outcome: str
    mean: Mean
    difference: tuple[float, float] | None  # value and half width
    lift: tuple[float, float] | None  # the same as a share of the control's mean


@dataclass
class Joined:
    """Logged requests with their outcomes: one entry a request.

    `gone`: what is said of files that were removed before they could be read.
    """

    names: tuple[str, ...]
    user: list[str] = field(default_factory=list)
    groups: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # (layer, arm)
    totals: list[Floats] = field(default_factory=list)
    matched: int = 0
    gone: list[str] = field(default_factory=list)

    def column(self, name: str) -> Floats:
        at = self.names.index(name)
        return np.array([total[at] for total in self.totals])


def join(files: Sequence[LogFile], outcomes: Outcomes) -> Joined:
    """Every logged request once (by id), with the sums of its outcomes.

    Besides the layers' arms, params that an arm perturbs make two groups each, by their sign.
    """
    names = tuple(outcomes.values)
    sums: dict[str, Floats] = {}
    rows = np.nan_to_num(np.stack([outcomes.values[name] for name in names], axis=1))
    for request, row in zip(outcomes.request, rows, strict=True):
        sums[request] = sums[request] + row if request in sums else row
    found, seen, nothing = Joined(names), set[str](), np.zeros(len(names))
    for request, user, assignments, signs in _assigned(files, found.gone):
        if request in seen:
            continue
        seen.add(request)
        at = len(found.totals)
        found.user.append(user)
        found.matched += request in sums
        found.totals.append(sums.get(request, nothing))
        for layer, arm in assignments.items():
            found.groups.setdefault((layer, arm), []).append(at)
        for param, sign in signs.items():
            group = (f"sign of {param}", "+" if sign > 0 else "-")
            found.groups.setdefault(group, []).append(at)
    if not found.totals:
        raise TrafficError("; ".join(["the log holds no requests", *found.gone]))
    return found


def arms(joined: Joined) -> Iterator[Arm]:
    """Every arm of every experiment, by outcome; the control is named so, else the first."""
    experiments: dict[tuple[str, str], list[str]] = {}
    for layer, arm in sorted(joined.groups):
        experiment, slash, _ = arm.rpartition("/")
        experiments.setdefault((layer, experiment if slash else ""), []).append(arm)
    for (layer, _), members in sorted(experiments.items()):
        control = next((a for a in members if a.rpartition("/")[2] == CONTROL), members[0])
        if members == ["+", "-"]:
            control = "-"
        for outcome in joined.names:
            base = _mean(joined, layer, control, outcome)
            for arm in members:
                mean = _mean(joined, layer, arm, outcome)
                apart = (None, None) if arm == control else _apart(mean, base)
                yield Arm(layer, arm, outcome, mean, *apart)


def _mean(joined: Joined, layer: str, arm: str, outcome: str) -> Mean:
    rows = joined.groups[layer, arm]
    users = [joined.user[row] for row in rows]
    return mean_by_cluster(joined.column(outcome)[rows], users)


def mean_by_cluster(values: Floats, clusters: Sequence[str]) -> Mean:
    """The mean of values and its standard error when those of a cluster are not independent.

    A ratio of two sums over clusters, by the delta method.
    """
    _, of = np.unique(np.array(clusters, object).astype(str), return_inverse=True)
    sums, counts = np.bincount(of, weights=values), np.bincount(of)
    many, value = len(counts), float(values.mean())
    if many < 2:
        return Mean(len(values), many, value, math.nan)
    residual = sums - value * counts
    error = math.sqrt(many / (many - 1) * float((residual**2).sum())) / len(values)
    return Mean(len(values), many, value, error)


def _apart(mean: Mean, base: Mean) -> tuple[tuple[float, float], tuple[float, float] | None]:
    difference = mean.value - base.value, _Z * math.hypot(mean.error, base.error)
    if not base.value:
        return difference, None
    ratio = mean.value / base.value
    error = math.hypot(mean.error, ratio * base.error) / abs(base.value)
    return difference, (ratio - 1, _Z * error)


def _assigned(
    files: Sequence[LogFile], gone: list[str]
) -> Iterator[tuple[str, str, Mapping[str, str], Mapping[str, int]]]:
    """Request id, user (the request itself without one), assignments and signs."""
    names = ["request_id", "user_id", "assignments", "signs"]
    for file in files:
        try:
            reader = open_file(file.path)
        except FileGone as err:
            gone.append(str(err))
            continue
        for batch in reader.iter_batches(columns=names):
            columns = (batch.column(name).to_pylist() for name in names)
            for request, user, assignments, signs in zip(*columns, strict=True):
                who = f"request {request}" if user is None else f"user {user}"
                yield request, who, orjson.loads(assignments), orjson.loads(signs)


def _read_csv(path: Path) -> arrow.Table:
    """Ids stay text, whatever they look like."""
    ids = dict.fromkeys((REQUEST, ITEM), arrow.string())
    return csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=ids))


def _is_number(type_: Any) -> bool:
    kinds = arrow.types
    return bool(
        kinds.is_integer(type_)
        or kinds.is_floating(type_)
        or kinds.is_boolean(type_)
        or kinds.is_decimal(type_)
    )


def _floats(column: Any) -> Floats:
    values: Floats = column.cast(arrow.float64()).to_numpy()
    return values
