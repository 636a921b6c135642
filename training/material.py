"""What a run learns from and is measured on: rows in memory, or encoded ones on disk."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from service.contract.features import FeatureSchema
from training.checks import require_measurable, require_rows, require_trainable
from training.config.run import RunConfig
from training.data.columns import Stripe, log_files
from training.data.days import Days
from training.data.errors import DataError
from training.data.log import Log, Reader
from training.data.reader import TableReader
from training.data.seen import Seen
from training.dataset import build_dataset
from training.portions import TrainingRows
from training.shards import FILE, complete_shards, open_shards, stripe_place, write_stripe
from training.team import Team


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of some days, encoded, and the schema that they gave."""

    schema: FeatureSchema
    data: TrainingRows
    days: tuple[int, int]  # the first and the last there is


class Material(Protocol):
    """The log of a run."""

    @property
    def valid(self) -> Log:
        """The rows of the validation days; may be asked for by the process that leads only."""
        ...

    def part(self, days: Days) -> Part:
        """The rows of these days, to be learned from."""
        ...


def material_of(
    config: RunConfig, reader: Reader, directory: Path, shards: Path, team: Team
) -> Material:
    """Read, check, and encode nothing yet.

    Args:
        shards: where encoded rows are kept when the log is larger than memory.
        team: the processes that will train on it; the first one writes.

    Raises:
        DataError: the log is broken or does not suit the run.
    """
    if config.data.rows_at_once is None:
        return InMemory(config, reader, directory)
    assert isinstance(reader, TableReader)
    return OnDisk(config, reader, directory, shards, team)


class InMemory:
    """All rows at once."""

    def __init__(self, config: RunConfig, reader: Reader, directory: Path) -> None:
        self._config, self._reader = config, reader
        self._log = reader.read(directory)
        self.valid = self._log.of(config.data.validate_days)
        has = np.unique(self._log.day).tolist()
        require_trainable(config, self._log.of(config.data.train_days), has)
        require_measurable(config, self.valid, has)

    def part(self, days: Days) -> Part:
        log = self._log.of(days)
        schema = self._reader.features(log)
        data = build_dataset(schema, self._config.tasks, log)
        return Part(schema, data, (int(log.day.min()), int(log.day.max())))


class OnDisk:
    """`rows_at_once` rows at once, besides those of the validation days where a process leads.

    The rows to learn from are encoded once into shards; a run with the same data and tasks finds
    them again. Two passes of every process over its stripes: vocabularies and encoding; and one of
    the first process over the whole log: the validation days.
    """

    def __init__(
        self, config: RunConfig, reader: TableReader, directory: Path, shards: Path, team: Team
    ) -> None:
        self._config, self._reader, self._directory = config, reader, directory
        self._shards, self._team = shards, team
        self._stripes = config.data.stripes or team.size
        if self._stripes < team.size:
            raise DataError(
                f"[data] stripes = {self._stripes} for {team.size} processes: each of them reads"
                " one at least"
            )
        if self._stripes > config.train.minibatch:
            raise DataError(
                f"[data] stripes = {self._stripes} for a minibatch of {config.train.minibatch}"
                " rows: each gives one at least"
            )
        if team.leads:
            self.valid = reader.read(directory, config.data.validate_days)
            require_measurable(config, self.valid, np.unique(self.valid.day).tolist())

    def part(self, days: Days) -> Part:
        place = self._shards / self._fingerprint(days)
        if not self._team.agreed(self._team.leads and (place / FILE).exists()):
            self._encode(days, place)
        shards = open_shards(place)
        return Part(shards.schema, shards.data, shards.days)

    def _encode(self, days: Days, place: Path) -> None:
        team, tasks = self._team, self._config.tasks
        mine = team.of_mine(self._stripes)
        shown = _by_stripe(team.everyone({k: self._shown(days, k) for k in mine}))
        schema = team.agreed(self._schema(days, shown) if team.leads else None)
        written = {
            k: write_stripe(stripe_place(place, k), schema, tasks, self._pieces(days, k))
            for k in mine
        }
        every = _by_stripe(team.everyone(written))
        if team.leads:
            complete_shards(place, schema, tasks, every)
        team.wait()

    def _shown(self, days: Days, stripe: int) -> tuple[Seen | None, set[int]]:
        """What a stripe's rows of these days show, and which days it has at all."""
        seen, has = None, set()
        for log in self._reader.pieces(self._directory, Stripe(stripe, self._stripes)):
            has |= set(np.unique(log.day).tolist())
            part = log.of(days)
            if part.rows:
                of_part = self._reader.seen(part)
                seen = of_part if seen is None else seen.plus(of_part)
        return seen, has

    def _schema(self, days: Days, shown: Sequence[tuple[Seen | None, set[int]]]) -> FeatureSchema:
        seen = [one for one, _ in shown if one is not None]
        require_rows(bool(seen), days, "training", sorted(set().union(*(has for _, has in shown))))
        if len(seen) < len(shown):
            raise DataError(
                f"{len(shown)} stripes: only {len(seen)} have rows of the training days {days};"
                " write the log with smaller row groups, or ask for fewer stripes or processes"
            )
        return self._reader.features_seen(reduce(Seen.plus, seen))

    def _pieces(self, days: Days, stripe: int) -> Iterator[Log]:
        for log in self._reader.pieces(self._directory, Stripe(stripe, self._stripes)):
            part = log.of(days)
            if part.rows:
                yield part

    def _fingerprint(self, days: Days) -> str:
        """Of all that the encoded rows depend on, as far as file times and sizes tell."""
        config = self._config
        assert config.columns is not None
        beside = [name for name in (config.columns.users, config.columns.items) if name is not None]
        paths = log_files(self._directory, config.columns.files, beside)
        paths += [self._directory / name for name in beside]
        files = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
        parts = [config.columns.model_dump_json(), config.features.model_dump_json(), str(days)]
        parts += [str(self._stripes)]
        tasks = [task.model_dump_json() for task in config.tasks]
        text = json.dumps([parts, tasks, files])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _by_stripe(of_processes: Iterable[Mapping[int, Any]]) -> list[Any]:
    """What the processes have of their stripes -> by stripe."""
    every = {stripe: one for mine in of_processes for stripe, one in mine.items()}
    return [every[stripe] for stripe in sorted(every)]
