"""A whole run: read, encode, train, perhaps refit, export, publish."""

import platform
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from service.contract.features import FeatureSchema
from service.contract.heads import Calibration
from training.calibration.fit import fit_calibrations, install
from training.checkpoint import Position
from training.config.run import RunConfig
from training.data.days import Days
from training.data.log import Log, Reader
from training.dataset import Dataset, build_dataset
from training.export import export_graph
from training.export_int8 import Judged, export_int8
from training.golden_rows import golden_rows
from training.loop import Judge, fit, predict, start_at_base_rates
from training.material import Part, material_of
from training.objective import Objective
from training.progress import TerminalWatcher
from training.publish import Finished, git_commit, publish
from training.rankers.build import build_ranker
from training.rankers.heads import Heads, head_values
from training.rankers.ranker import Ranker
from training.reading import reader_for
from training.report.of_run import Measured, measure, recording, report_run
from training.scores import binary_labels, criterion, head_metrics, log_slices
from training.team import ALONE, Team, joined

# Means, deviations and base rates are taken from so many rows, evenly spread, where there are more.
FIT_ROWS = 10_000_000


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes."""

    data: Path
    models: Path
    runs: Path  # checkpoints and shards: <runs>/<name>/


@dataclass(frozen=True)
class Published:
    """What a run gave."""

    name: str
    version: int
    metrics: dict[str, float]
    record: dict[str, Any]  # a line for a file of runs
    report: Path  # directory of the report


@dataclass(frozen=True, eq=False)
class Learned:
    """Weights, and what they were learned from and measured on."""

    ranker: Ranker
    schema: FeatureSchema
    validation: Log
    held_out: Dataset  # the validation rows, encoded
    epochs: int
    metrics: dict[str, float]  # of the best epoch of the search, on the validation rows
    measured: Measured  # the same epoch for the report
    days: tuple[int, int]
    rows: int
    calibrations: Mapping[str, Calibration]  # by head


def run(
    config: RunConfig,
    places: Places,
    console: Console,
    *,
    promote: bool = False,
    train_further: bool = True,
) -> Published | None:
    """Train and publish one package; None in a process of `torchrun` that is not the first.

    A run that was killed continues from its checkpoint when it is started again with the same
    configuration and data; without `train_further` its best epoch so far is published as it is.
    """
    started = time.monotonic()
    reader = reader_for(config)
    with joined(config.train.device) as team:
        if not team.leads:
            console = Console(quiet=True)
        learned = learn(config, reader, places, console, train_further=train_further, team=team)
    if not team.leads:
        return None
    trained_s = time.monotonic() - started
    with console.status("exporting and publishing"):
        version = publish(finish(config, reader, places, learned), places.models, promote=promote)
        report = report_run(config, places.runs, version, learned.measured, epochs=learned.epochs)
    for checkpoint in (places.runs / config.name).glob("*.safetensors"):
        checkpoint.unlink()
    record = {
        "model": config.name,
        "version": version,
        "trunk": config.model.trunk.kind,
        "seed": config.train.seed,
        "epochs": learned.epochs,
        "rows": learned.rows,
        "parameters": sum(p.numel() for p in learned.ranker.parameters()),
        "train_s": round(trained_s, 1),
        "total_s": round(time.monotonic() - started, 1),
        "threads": torch.get_num_threads(),
        "processes": team.size,
        "device": team.device.type,
        "machine": f"{platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": git_commit(),
        "metrics": learned.metrics,
    }
    return Published(config.name, version, learned.metrics, record, report)


def learn(
    config: RunConfig,
    reader: Reader,
    places: Places,
    console: Console,
    *,
    train_further: bool = True,
    team: Team = ALONE,
) -> Learned:
    """Search on the training days; with `refit`, train again on all days for the epochs found."""
    with console.status("reading the log"):
        shards = places.runs / config.name / "shards"
        material = material_of(config, reader, places.data, shards, team)
        part, valid = material.part(config.data.train_days), material.valid
        held_out = build_dataset(part.schema, config.tasks, valid)
    console.print(f"{len(part.data):,} rows train, {valid.rows:,} validate", highlight=False)
    judge = _judge(config, valid, held_out)
    ranker, found = _fit(config, part, places, console, judge, team, train_further=train_further)
    with console.status("measuring"):
        calibrations = fit_calibrations(
            config.tasks,
            ranker.logit_names,
            predict(ranker, held_out),
            held_out.labels,
            held_out.spaces,
        )
        install(ranker.readouts, calibrations)
        predictions = predict_heads(ranker, config, held_out)
        measured = measure(
            config,
            part.schema,
            ranker,
            predictions,
            data=part.data,
            validation=valid,
            held_out=held_out,
        )
    if config.train.refit and train_further:
        everything = Days(config.data.train_days.first, config.data.validate_days.last)
        part = material.part(everything)
        held_out = build_dataset(part.schema, config.tasks, valid)
        ranker, _ = _fit(
            config,
            part,
            places,
            console,
            lambda _: (0.0, {}),
            team,
            stop_after=found.best_epoch,
        )
        install(ranker.readouts, calibrations)
    return Learned(
        ranker=ranker,
        schema=part.schema,
        validation=valid,
        held_out=held_out,
        epochs=found.best_epoch,
        metrics=found.history[found.best_epoch - 1],
        measured=measured,
        days=part.days,
        rows=len(part.data),
        calibrations={name: c.record for name, c in calibrations.items()},
    )


def finish(config: RunConfig, reader: Reader, places: Places, learned: Learned) -> Finished:
    """Export what was learned and choose its golden rows: all that `publish` writes."""
    schema, held_out = learned.schema, learned.held_out
    heads = Heads(learned.ranker, list(schema.inputs), {t.name: t.product for t in config.heads})
    encoded = {name: block.numpy() for name, block in held_out.inputs.items()}
    graph = export_graph(heads, schema, encoded)
    int8 = None
    if config.export.int8:
        judged = Judged(encoded, binary_labels(config.heads, learned.validation))
        int8 = export_int8(graph, heads.heads, schema, judged)
    return Finished(
        config=config,
        schema=schema,
        heads=heads,
        graph=graph,
        int8=int8,
        golden=golden_rows(schema, reader, places.data, learned.validation),
        validation=learned.validation,
        predictions=predict_heads(learned.ranker, config, held_out),
        metrics=learned.metrics,
        days=learned.days,
        rows=learned.rows,
        calibrations=learned.calibrations,
    )


def _fit(
    config: RunConfig,
    part: Part,
    places: Places,
    console: Console,
    judge: Judge,
    team: Team,
    *,
    stop_after: int | None = None,
    train_further: bool = True,
) -> tuple[Ranker, Position]:
    torch.manual_seed(config.train.seed)
    ranker = build_ranker(part.schema, config.model, config.tasks)
    sample = part.data.thinned(FIT_ROWS)
    ranker.embedding.fit({name: block.numpy() for name, block in sample.inputs.items()})
    start_at_base_rates(ranker, config.tasks, sample)
    what = "search" if stop_after is None else "refit"
    checkpoint = places.runs / config.name / f"{what}.safetensors"
    resumed = checkpoint.exists()
    if resumed:
        console.print(f"continuing from {checkpoint}", highlight=False)
    kept = places.runs / config.name / what
    with (
        TerminalWatcher(what, stop_after or config.train.epochs, console) as terminal,
        recording(terminal, kept, resumed=resumed)
        if team.leads
        else nullcontext(terminal) as watcher,
    ):
        position = fit(
            ranker,
            part.data,
            config,
            judge=judge,
            watcher=watcher,
            checkpoint=checkpoint,
            stop_after=stop_after,
            train_further=train_further,
            team=team,
        )
    return ranker, position


def _judge(config: RunConfig, valid: Log, held_out: Dataset) -> Judge:
    """Metrics on the validation rows, and the criterion: as configured, or the negative loss."""
    slices = log_slices(valid, config.slices)

    def judge(ranker: Ranker) -> tuple[float, dict[str, float]]:
        metrics = head_metrics(config.heads, predict_heads(ranker, config, held_out), valid, slices)
        if config.train.criterion:
            return criterion(config.train.criterion, metrics), metrics
        objective = Objective(
            config.tasks, ranker.logit_names, ranker.readouts, config.train.calibrator
        )
        losses = objective.losses(
            predict(ranker, held_out), held_out.labels, held_out.spaces, held_out.inputs
        )
        return -objective.total(losses).item(), metrics

    return judge


def predict_heads(
    ranker: Ranker, config: RunConfig, data: Dataset
) -> dict[str, NDArray[np.float32]]:
    """Head name -> (N,): what the heads say of every row."""
    products = {task.name: task.product for task in config.heads}
    values = head_values(
        predict(ranker, data), ranker.logit_names, products, ranker.readouts, data.inputs
    )
    return {name: value.numpy() for name, value in values.items()}
