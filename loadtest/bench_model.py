"""`python -m loadtest.bench_model --out DIR`: the bench model as a package, with store and plan.

PLE as in this project's measurements: 5 tasks, 648 inputs, 1.91 M parameters outside the tables.
Weights are random: the bench measures time, and time does not depend on them.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from loadtest.bench_store import bench_plan, load_catalogue, publish_plan, store_url
from loadtest.catalogue import SCENE, Catalogue
from loadtest.shape import Shape
from service.contract.encode import Columns, encode_rows
from service.contract.features import Categorical, FeatureSchema, Numeric, Side
from service.contract.golden import encode_raw
from service.contract.repository import Repository
from training.config.model import Model
from training.config.run import RunConfig
from training.config.task import MEANINGS, Task
from training.config.train import Train
from training.config.trunks import PLETrunk
from training.data.config import DataConfig
from training.data.log import Log
from training.export import export_graph, run_heads
from training.export_int8 import Judged, export_int8
from training.int8_cost import Limits
from training.publish import Finished, publish
from training.rankers.build import build_ranker
from training.rankers.heads import Heads
from training.rankers.ranker import Ranker

DAY = 20260101
_GOLDEN_ROWS = 32
_DRAWN_ROWS = 20_000
# Random layers answer nearly the same for every candidate, so rounding moves the order more than
# that of a trained network. Here the variant is for measuring time; the manifest says its cost.
_INT8_LIMITS = Limits(auc_loss=0.005, top10_overlap=0.9)
_EMBEDDING_SCALE = 0.5  # large enough that candidates get different scores


def make_schema(catalogue: Catalogue) -> FeatureSchema:
    """Categorical features with listed vocabularies "0", "1", …; dense item features."""
    vocabulary = tuple(map(str, range(catalogue.vocabulary)))
    return FeatureSchema(
        features=(
            *(
                Categorical(name=n, side="user", vocabulary=vocabulary)
                for n in catalogue.user_names
            ),
            *(
                Categorical(name=n, side="item", vocabulary=vocabulary)
                for n in catalogue.categorical_names
            ),
            *(Numeric(name=n, side="item", default=0.0) for n in catalogue.dense_names),
        )
    )


def make_config(name: str, shape: Shape, seed: int) -> RunConfig:
    """The run that such a package would come from."""
    tasks = [
        Task(name=task, label=task, meaning=MEANINGS.get(task, "one more task"))
        for task in shape.rates
    ]
    ctcvr = Task(name="ctcvr", label="ctcvr", product=("ctr", "cvr"))
    return RunConfig(
        name=name,
        data=DataConfig(reader="synthetic", train=f"{DAY}:{DAY}", validate=f"{DAY + 1}:{DAY + 1}"),
        model=Model(
            trunk=PLETrunk(
                kind="ple",
                levels=shape.levels,
                own=shape.own,
                shared=shape.shared,
                hidden=shape.hidden,
            ),
            embedding=shape.embedding,
            towers=(shape.tower,),
            dropout=0.0,
            linear=False,
        ),
        train=Train(seed=seed),
        tasks=(*tasks, ctcvr),
    )


def make_ranker(schema: FeatureSchema, config: RunConfig, shape: Shape) -> Ranker:
    """A ranker with random weights from the run's seed."""
    torch.manual_seed(config.train.seed)
    ranker = build_ranker(schema, config.model, config.tasks)
    with torch.no_grad():
        ranker.embedding.table.normal_(std=_EMBEDDING_SCALE)
    ranker.set_output_bias({task: math.log(p / (1 - p)) for task, p in shape.rates.items()})
    return ranker.eval()


def dense_parameters(ranker: Ranker) -> int:
    """Parameters outside the embedding tables."""
    return sum(p.numel() for p in ranker.parameters()) - ranker.embedding.table.numel()


def write_package(
    models: Path, *, name: str = SCENE, catalogue: Catalogue, shape: Shape, seed: int
) -> int:
    """Publish the next version of `name` as champion; its parameters outside the tables."""
    schema, config = make_schema(catalogue), make_config(name, shape, seed)
    ranker = make_ranker(schema, config, shape)
    heads = Heads(ranker, tuple(schema.inputs), {t.name: t.product for t in config.heads})
    golden = [_golden_row(catalogue, n) for n in range(_GOLDEN_ROWS)]
    encoded = encode_raw(schema, golden)
    graph = export_graph(heads, schema, encoded)
    drawn = _draw_rows(schema, heads, catalogue, seed)
    finished = Finished(
        config=config,
        schema=schema,
        heads=heads,
        graph=graph,
        int8=export_int8(graph, heads.heads, schema, drawn, _INT8_LIMITS),
        golden=golden,
        validation=_empty_log(),
        predictions=run_heads(heads, encoded),
        metrics={},
        days=(DAY, DAY),
        rows=0,
    )
    publish(finished, models, promote=True)
    return dense_parameters(ranker)


def _draw_rows(schema: FeatureSchema, heads: Heads, catalogue: Catalogue, seed: int) -> Judged:
    """Impressions of random users and items; what happened is drawn from the model's own heads."""
    draw = np.random.default_rng([seed, 3])
    users = [catalogue.user(n) for n in draw.integers(0, catalogue.users, _DRAWN_ROWS).tolist()]
    columns: dict[Side, Columns] = {
        "user": {name: [user[name] for user in users] for name in catalogue.user_names},
        "item": catalogue.columns(draw.integers(0, catalogue.items, _DRAWN_ROWS)),
    }
    encoded = encode_rows(schema, columns, _DRAWN_ROWS)
    labels = {
        head: (draw.random(_DRAWN_ROWS) < chances).astype(np.float32)
        for head, chances in run_heads(heads, encoded).items()
    }
    return Judged(encoded, labels)


def _golden_row(catalogue: Catalogue, n: int) -> dict[str, Any]:
    user, item = n % catalogue.users, n * 601 % catalogue.items
    return {
        "user": {"id": f"user_{user}", "features": catalogue.user(user)},
        "context": {},
        "item": {"id": f"item_{item}", "features": catalogue.item(item)},
    }


def _empty_log() -> Log:
    none = np.zeros(0, np.int64)
    return Log(
        row=none,
        day=none.astype(np.int32),
        user_id=none.astype(object),
        item_id=none.astype(object),
        columns={"item": {}},
        labels={},
        spaces={"impression": none.astype(bool)},
    )


def main(
    out: Annotated[Path, typer.Option(help="models directory")],
    store: Annotated[str, typer.Option(help="redis://… or embedded")] = "embedded",
    state_dir: Annotated[
        Path, typer.Option(envvar="FINERANK_STATE_DIR", help="where the embedded store lives")
    ] = Path(".finerank"),
    seed: Annotated[int, typer.Option(help="of the weights and of the catalogue")] = 1,
    tasks: Annotated[int, typer.Option(help="towers, at least the five of the bench model")] = 5,
    shared: Annotated[int, typer.Option(help="shared experts a level")] = 2,
    items: Annotated[int, typer.Option(help="size of the catalogue")] = 20_000,
) -> None:
    """Write package bench/1 and fill the store; `finerank serve --models DIR` then ranks it."""
    catalogue, shape = Catalogue(seed=seed, items=items), Shape(tasks=tasks, shared=shared)
    if Repository(out).versions(SCENE):
        raise typer.BadParameter(f"{out / SCENE} holds a model already: choose another directory")
    parameters = write_package(out, catalogue=catalogue, shape=shape, seed=seed)
    typer.echo(f"{out / SCENE}/1: {parameters:,} parameters outside the tables")
    with store_url(store, state_dir) as url:
        records = load_catalogue(url, catalogue)
        version = publish_plan(url, bench_plan(SCENE))
    typer.echo(f"store: {records:,} records, plan {version} of scene {SCENE!r}")


if __name__ == "__main__":
    typer.run(main)
