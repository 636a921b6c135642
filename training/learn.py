"""Read a log, learn from its training days, measure on its validation days, perhaps learn again."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

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
from training.loop import Judge, fit, predict, start_at_base_rates
from training.material import Part, material_of
from training.objective import Objective
from training.progress import TerminalWatcher
from training.rankers.build import build_ranker
from training.rankers.heads import head_values
from training.rankers.ranker import Ranker
from training.report.of_run import Measured, measure, recording
from training.scores import criterion, head_metrics, log_slices
from training.team import ALONE, Team

# Means, deviations and base rates are taken from so many rows, evenly spread, where there are more.
FIT_ROWS = 10_000_000


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes."""

    data: Path
    models: Path
    runs: Path  # checkpoints and shards: <runs>/<name>/


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


def learn(
    config: RunConfig,
    reader: Reader,
    places: Places,
    console: Console,
    *,
    train_further: bool = True,
    team: Team = ALONE,
    before: Callable[[FeatureSchema, Log], object] = lambda schema, valid: None,
) -> Learned | None:
    """Search on the training days; with `refit`, train again on all days for the epochs found.

    None in a process that does not lead: it lends a hand and knows no validation days.

    Args:
        before: called with the schema and the validation rows before the first step; what would
            stop the run at its end had better stop it here.
    """
    with console.status("reading the log"):
        shards = places.runs / config.name / "shards"
        material = material_of(config, reader, places.data, shards, team)
        part = material.part(config.data.train_days)
        judge: Judge = _nothing
        if team.leads:
            valid = material.valid
            before(part.schema, valid)
            held_out = build_dataset(part.schema, config.tasks, valid)
            judge = _judge(config, valid, held_out)
            said = f"{len(part.data):,} rows train, {valid.rows:,} validate"
            console.print(said, highlight=False)
    ranker, found = _fit(config, part, places, console, judge, team, train_further=train_further)
    if team.leads:
        with console.status("measuring"):
            calibrations = fit_calibrations(
                config.tasks,
                ranker.logit_names,
                predict(ranker, held_out),
                held_out.labels,
                held_out.spaces,
            )
            install(ranker.readouts, calibrations)
            measured = measure(
                config,
                part.schema,
                ranker,
                predict_heads(ranker, config, held_out),
                data=part.data,
                validation=valid,
                held_out=held_out,
            )
    refit = config.train.refit and train_further
    if refit:
        everything = Days(config.data.train_days.first, config.data.validate_days.last)
        part, epochs = material.part(everything), found.best_epoch
        ranker, _ = _fit(config, part, places, console, _nothing, team, stop_after=epochs)
    if not team.leads:
        return None
    if refit:
        held_out = build_dataset(part.schema, config.tasks, valid)
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
    ranker = team.agreed(_begun(config, part) if team.leads else None)
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


def _begun(config: RunConfig, part: Part) -> Ranker:
    """A ranker before its first step, fitted to the training rows."""
    torch.manual_seed(config.train.seed)
    ranker = build_ranker(part.schema, config.model, config.tasks)
    sample = part.data.thinned(FIT_ROWS)
    ranker.embedding.fit({name: block.numpy() for name, block in sample.inputs.items()})
    start_at_base_rates(ranker, config.tasks, sample)
    return ranker


def _nothing(_: Ranker) -> tuple[float, dict[str, float]]:
    """The judge of a refit: there are no rows to be measured on."""
    return 0.0, {}


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
