"""A whole run: learn, export, publish."""

import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from training.config.run import RunConfig
from training.data.log import Reader
from training.export import export_graph
from training.export_int8 import Judged, export_int8
from training.golden_rows import golden_rows
from training.learn import Learned, Places, learn, predict_heads
from training.publish import Finished, git_commit, publish
from training.rankers.heads import Heads
from training.reading import reader_for
from training.report.of_run import report_run
from training.scores import binary_labels
from training.team import joined


@dataclass(frozen=True)
class Published:
    """What a run gave."""

    name: str
    version: int
    metrics: dict[str, float]
    record: dict[str, Any]  # a line for a file of runs
    report: Path  # directory of the report


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
        learned = learn(
            config,
            reader,
            places,
            console,
            train_further=train_further,
            team=team,
            before=lambda schema, valid: golden_rows(schema, reader, places.data, valid),
        )
    if learned is None:
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
