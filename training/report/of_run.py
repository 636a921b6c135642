"""The report of a training run, measured on its validation rows before any refit."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.contract.features import FeatureSchema
from training.config.run import RunConfig
from training.data.log import Log
from training.dataset import Dataset
from training.evaluate import Evaluation, slices_of
from training.loop import Watcher
from training.objective import Objective
from training.portions import TrainingRows
from training.rankers.ranker import Ranker
from training.report import history
from training.report.build import report_of, write_report
from training.report.document import Inside
from training.report.inside import MINIBATCHES, gradient_conflicts, utilisation
from training.report.tensorboard import tensorboard_watchers
from training.scores import head_metrics


@dataclass(frozen=True, eq=False)
class Measured:
    """What the best epoch of the search is worth on the validation rows."""

    evaluation: Evaluation
    inside: Inside


def measure(
    config: RunConfig,
    schema: FeatureSchema,
    ranker: Ranker,
    predictions: Mapping[str, NDArray[np.float32]],
    *,
    data: TrainingRows,
    validation: Log,
    held_out: Dataset,
) -> Measured:
    """Predictions (N,) by head are of the N validation rows; `data` is what was trained on."""
    encoded = {name: block.numpy() for name, block in held_out.inputs.items()}
    slices = slices_of(validation, config.slices, schema, encoded)
    evaluation = Evaluation(
        model=config.name,
        trained=config.data.train_days,
        tasks=config.heads,
        log=validation,
        predictions=dict(predictions),
        metrics=head_metrics(config.heads, predictions, validation, slices),
    )
    conflicts = gradient_conflicts(
        ranker,
        Objective(config.tasks, ranker.logit_names, ranker.readouts),
        data.thinned(MINIBATCHES * config.train.minibatch),
        minibatch=config.train.minibatch,
        seed=config.train.seed,
    )
    return Measured(
        evaluation, Inside(utilisation=utilisation(ranker, held_out), conflicts=conflicts)
    )


def report_run(
    config: RunConfig, runs: Path, version: int, measured: Measured, *, epochs: int
) -> Path:
    """Write `<runs>/<name>/<version>/report/`; its path."""
    model = f"{config.name}/{version}"
    calibrated = [task.name for task in config.heads if task.calibrate != "none"]
    report = report_of(
        replace(measured.evaluation, model=model),
        config.data.validate_days,
        history=history.read_history(
            runs / config.name / "search" / history.FILE, best_epoch=epochs
        ),
        inside=measured.inside,
        facts={"trunk": config.model.trunk.kind, "seed": str(config.train.seed)},
        notes=[f"{', '.join(calibrated)}: calibrated on these rows."] if calibrated else [],
    )
    directory = runs / model / "report"
    write_report(report, directory)
    return directory


@contextmanager
def recording(terminal: Watcher, directory: Path, *, resumed: bool) -> Iterator[Watcher]:
    """`terminal`, a history file and TensorBoard, told together."""
    with ExitStack() as stack:
        kept = history.HistoryWatcher(directory / history.FILE, resumed=resumed)
        others = [kept, *tensorboard_watchers(directory / "tensorboard")]
        for watcher in others:
            stack.enter_context(closing(watcher))
        yield history.Watchers(terminal, *others)
