"""Publish a cut package with random weights: torch exports it, nobody trains it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.golden import encode_raw
from service.contract.repository import Repository
from tests.scoring.graphs import SCHEMA
from tests.scoring.packages import raw_rows

_WIDE = {"auc_loss": 1.0, "top10_overlap": 0.0, "calibration": 1.0}


def publish_cut(root: Path, name: str = "cut", *, seed: int = 0, int8: bool = False) -> int:
    """Publish the next version of `name` under `root`: user.onnx, item.onnx and rank.onnx in it.

    `int8`: with that variant, whatever it costs.
    """
    torch = pytest.importorskip("torch")
    from training.config.model import Model
    from training.config.run import RunConfig
    from training.config.task import Task
    from training.data.config import DataConfig
    from training.export import export_graph, run_heads
    from training.export_int8 import Judged, export_int8
    from training.int8_cost import Limits
    from training.publish import Finished, publish
    from training.rankers.build import build_ranker
    from training.rankers.heads import Heads

    tasks = [Task(name=head, label=head) for head in ("ctr", "vtr", "vcr", "like")]
    tasks.append(Task(name="cvr", label="buy", space="click", loss="none"))
    tasks.append(Task(name="ctcvr", label="buy", product=("ctr", "cvr")))
    trunk = {"kind": "ple", "levels": 2, "own": 1, "shared": 1, "hidden": [24, 8]}
    config = RunConfig(
        name=name,
        data=DataConfig(reader="columns", train="20260101:20260101", validate="20260102:20260102"),
        model=Model.model_validate(
            {"trunk": trunk, "towers": [8], "log1p": ["videolen_s", "user_author.shown"]}
        ),
        tasks=tuple(tasks),
    )
    torch.manual_seed(seed)
    ranker = build_ranker(SCHEMA, config.model, config.tasks)
    with torch.no_grad():
        ranker.embedding.table.normal_()
    products = {task.name: task.product for task in config.heads}
    heads = Heads(ranker, list(SCHEMA.inputs), products).eval()
    golden = raw_rows(seed)
    encoded = encode_raw(SCHEMA, golden)
    ranker.embedding.fit(encoded)
    graph = export_graph(heads, SCHEMA, encoded)
    judged = Judged(encode_raw(SCHEMA, raw_rows(seed, 256)), {})
    finished = Finished(
        config=config,
        schema=SCHEMA,
        heads=heads,
        graph=graph,
        int8=export_int8(graph, heads.heads, SCHEMA, judged, Limits(**_WIDE)) if int8 else None,
        golden=golden,
        validation=_no_rows(),
        predictions=run_heads(heads, encoded),
        metrics={},
        days=(20260101, 20260101),
        rows=0,
    )
    return publish(finished, Repository(root).root, promote=True)


def _no_rows() -> Any:
    from training.data.log import Log

    none = np.zeros(0, np.int64)
    ids = none.astype(object)
    spaces = {"impression": none.astype(bool)}
    attributes = {a.name: np.array([a.min, a.max]) for a in SCHEMA.attributes}
    return Log(none, none.astype(np.int32), ids, ids, {"item": attributes}, {}, spaces)
