"""Write a finished run as a model package: graph, golden rows, card, manifest, all or nothing."""

import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.features import FeatureSchema
from service.contract.golden import Golden, encode_raw, write_golden
from service.contract.heads import Calibration, Head
from service.contract.manifest import FILE, Manifest, Training, digest_file
from service.contract.repository import CHAMPION, Repository
from service.scoring.graphs import MODEL_FILE
from training.config.file import to_document
from training.config.run import RunConfig
from training.config.task import Task
from training.data.log import Log
from training.export import Graph, run_heads
from training.export_int8 import NAME as INT8
from training.export_int8 import Int8
from training.model_card import model_card
from training.rankers.heads import Heads

CARD_FILE = "MODEL_CARD.md"
_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class Finished:
    """A trained and exported run, and what was seen on its validation rows."""

    config: RunConfig
    schema: FeatureSchema
    heads: Heads
    graph: Graph
    golden: list[dict[str, Any]]
    validation: Log
    predictions: Mapping[
        str, NDArray[np.float32]
    ]  # on the validation rows, by the published weights
    metrics: Mapping[str, float]
    days: tuple[int, int]
    rows: int
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)  # by head
    int8: Int8 | None = None

    def top(self, task: Task) -> float:
        """The largest value its head can say."""
        return math.prod(self.heads.ranker.readouts[n].top for n in task.product or (task.name,))


def publish(finished: Finished, models: Path, *, promote: bool) -> int:
    """Publish the next version; it becomes `champion` when there is none, or when promoted."""
    repository = Repository(models)
    name = finished.config.name
    version = repository.publish(name, lambda draft, number: _write(finished, draft, number))
    if promote or CHAMPION not in repository.read_aliases(name):
        repository.set_alias(name, CHAMPION, version)
    return version


def _write(finished: Finished, draft: Path, version: int) -> None:
    config, graph = finished.config, finished.graph
    graphs = {MODEL_FILE: graph.content, **graph.cut.files}
    for file, content in graphs.items():
        (draft / file).write_bytes(content)
    encoded = encode_raw(finished.schema, finished.golden)
    outputs = run_heads(finished.heads, encoded)
    write_golden(draft, Golden(raw=finished.golden, encoded=encoded, heads=outputs))
    variants = {}
    if finished.int8 is not None:
        variants[INT8] = finished.int8.write(draft, encoded)
    manifest = Manifest(
        format=1,
        name=config.name,
        version=version,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        schema_=_with_observed_ranges(finished.schema, finished.validation),
        heads=tuple(_heads(finished)),
        opset=graph.opset,
        files={},
        parity=graph.parity,
        cut=graph.cut.says,
        cut_parity=graph.cut.parity,
        variants=variants,
        training=Training(
            config=to_document(config),
            data_days=finished.days,
            rows=finished.rows,
            git_commit=git_commit(),
            metrics=dict(finished.metrics),
        ),
    )
    card = model_card(manifest, validate=config.data.validate_, refit=config.train.refit)
    (draft / CARD_FILE).write_text(card)
    files = {file.name: digest_file(file) for file in sorted(draft.iterdir())}
    (draft / FILE).write_text(manifest.model_copy(update={"files": files}).to_json())


def _heads(finished: Finished) -> list[Head]:
    heads = []
    for task in finished.config.heads:
        values = np.quantile(finished.predictions[task.name].astype(np.float64), _QUANTILES)
        heads.append(
            Head(
                name=task.name,
                meaning=task.says,
                sample_space=task.space,
                kind=task.kind,
                range=(0.0, finished.top(task)),
                unit=task.unit,
                product=task.product,
                quantiles=tuple(zip(_QUANTILES, values.tolist(), strict=True)),
                calibration=finished.calibrations.get(task.name),
                negative_rate=task.negative_rate,
            )
        )
    return heads


def _with_observed_ranges(schema: FeatureSchema, validation: Log) -> FeatureSchema:
    items = validation.columns["item"]
    attributes = []
    for attribute in schema.attributes:
        values = np.asarray(items[attribute.name], np.float64)
        if not np.isnan(values).all():
            seen = {"min": float(np.nanmin(values)), "max": float(np.nanmax(values))}
            attribute = attribute.model_copy(update=seen)
        attributes.append(attribute)
    return schema.model_copy(update={"attributes": tuple(attributes)})


def git_commit() -> str:
    """The commit of this code, or nothing where it is no checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
