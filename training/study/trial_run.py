"""One trial: train without publishing, measure, and give the line of figures it is kept as."""

import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from service.contract.features import FeatureSchema
from training.checkpoint import CheckpointError
from training.config.run import RunConfig
from training.data.days import Days
from training.data.log import Log, Reader, Record
from training.dataset import Dataset, build_dataset
from training.learn import Places, learn, predict_heads
from training.peers.peer import Rows, peer_of
from training.publish import git_commit
from training.reading import reader_for
from training.scores import head_metrics, log_slices
from training.study.plan import Study, Trial

Line = dict[str, Any]


@dataclass
class Logs:
    """Reads a log once for all trials that read it alike."""

    data: Path
    _kept: dict[str, Log] = field(default_factory=dict)

    def reader(self, config: RunConfig) -> "ReadOnce":
        key = config.model_dump_json(
            include={"data", "columns", "features", "history", "synthetic"}
        )
        reader = reader_for(config)
        if key not in self._kept:
            self._kept = {key: reader.read(self.data)}  # one at a time: logs are large
        return ReadOnce(reader, self._kept[key])


@dataclass(frozen=True, eq=False)
class ReadOnce:
    """A reader whose log is in memory already."""

    reader: Reader
    log: Log

    def read(self, directory: Path, days: Days | None = None) -> Log:
        return self.log if days is None else self.log.of(days)

    def features(self, log: Log) -> FeatureSchema:
        return self.reader.features(log)

    def records(self, directory: Path, as_of: int) -> tuple[Iterator[Record], Iterator[Record]]:
        return self.reader.records(directory, as_of)


def run_trial(study: Study, trial: Trial, logs: Logs, runs: Path, console: Console) -> Line:
    """Train and measure; the seconds leave out reading the log.

    Args:
        runs: directory of checkpoints; a trial that was killed continues from its own.
    """
    config, reader = trial.config, logs.reader(trial.config)
    started, used = time.monotonic(), time.process_time()
    if trial.entry.peer is None:
        places = Places(data=logs.data, models=runs, runs=runs / study.name / trial.digest)
        try:
            learned = learn(config, reader, places, console)
        except CheckpointError:  # of an older program or other data
            shutil.rmtree(places.runs)
            learned = learn(config, reader, places, console)
        schema, epochs = learned.schema, learned.epochs
        trained = {"validation": learned.metrics}
        log, dataset = _measured(study, config, reader.log, schema)
        predictions = predict_heads(learned.ranker, config, dataset)
        parameters = sum(p.numel() for p in learned.ranker.parameters())
        shutil.rmtree(places.runs, ignore_errors=True)
    else:
        peer = peer_of(trial.entry.peer)
        log, rows = _rows(study, config, reader)
        answer = peer(rows, trial.seed, **trial.entry.options)
        predictions, parameters, epochs = answer.predictions, answer.parameters, answer.epochs
        trained = {}
    metrics = head_metrics(config.heads, predictions, log, log_slices(log, config.slices))
    return {
        "run": trial.entry.name,
        "seed": trial.seed,
        "digest": trial.digest,
        "trunk": trial.entry.peer or config.model.trunk.kind,
        "parameters": parameters,
        "epochs": epochs,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "rows": log.rows,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": git_commit(),
        "metrics": metrics,
        **trained,
    }


def _measured(
    study: Study, config: RunConfig, log: Log, schema: FeatureSchema
) -> tuple[Log, Dataset]:
    days = Days.parse(study.measure) if study.measure else config.data.validate_days
    rows = log.of(days)
    return rows, build_dataset(schema, config.tasks, rows)


def _rows(study: Study, config: RunConfig, reader: ReadOnce) -> tuple[Log, Rows]:
    train = reader.log.of(config.data.train_days)
    valid = reader.log.of(config.data.validate_days)
    schema = reader.features(train)
    log, measured = _measured(study, config, reader.log, schema)
    rows = Rows(
        config=config,
        schema=schema,
        train=build_dataset(schema, config.tasks, train),
        valid=build_dataset(schema, config.tasks, valid),
        measured=measured,
    )
    return log, rows
