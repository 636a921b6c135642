"""What a run learns from and is measured on: rows in memory, or encoded ones on disk."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from service.contract.features import FeatureSchema
from training.checks import require_measurable, require_rows, require_trainable
from training.config.run import RunConfig
from training.data.columns import log_files
from training.data.days import Days
from training.data.log import Log, Reader
from training.data.reader import TableReader
from training.data.seen import Seen
from training.dataset import Dataset, build_dataset
from training.shards import FILE, open_shards, write_shards
from training.team import Team


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of some days, encoded, and the schema that they gave."""

    schema: FeatureSchema
    data: Dataset
    days: tuple[int, int]  # the first and the last there is


class Material(Protocol):
    """The log of a run."""

    @property
    def valid(self) -> Log:
        """The rows of the validation days."""
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
    """`rows_at_once` rows at once, besides those of the validation days.

    The rows to learn from are encoded once into shards; a run with the same data and tasks finds
    them again. Three passes over the log: the validation days, the vocabularies, the encoding.
    """

    def __init__(
        self, config: RunConfig, reader: TableReader, directory: Path, shards: Path, team: Team
    ) -> None:
        self._config, self._reader, self._directory = config, reader, directory
        self._shards, self._team = shards, team
        self.valid = reader.read(directory, config.data.validate_days)
        require_measurable(config, self.valid, np.unique(self.valid.day).tolist())

    def part(self, days: Days) -> Part:
        place = self._shards / self._fingerprint(days)
        if self._team.leads and not (place / FILE).exists():
            schema = self._reader.features_seen(self._seen(days))
            write_shards(place, schema, self._config.tasks, self._pieces(days))
        self._team.wait()
        shards = open_shards(place)
        return Part(shards.schema, shards.data, shards.days)

    def _seen(self, days: Days) -> Seen:
        seen, has = None, set()
        for log in self._reader.pieces(self._directory):
            has |= set(np.unique(log.day).tolist())
            part = log.of(days)
            if part.rows:
                of_part = self._reader.seen(part)
                seen = of_part if seen is None else seen.plus(of_part)
        require_rows(seen is not None, days, "training", sorted(has))
        assert seen is not None
        return seen

    def _pieces(self, days: Days) -> Iterator[Log]:
        for log in self._reader.pieces(self._directory):
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
        tasks = [task.model_dump_json() for task in config.tasks]
        text = json.dumps([parts, tasks, files])
        return hashlib.sha256(text.encode()).hexdigest()[:16]
