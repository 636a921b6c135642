"""A run small enough for a test: a log on disk, every kind of head, an auxiliary task."""

from io import StringIO
from pathlib import Path

import polars as pl
from rich.console import Console

from training.config.file import parse_config
from training.config.run import RunConfig
from training.data import synthetic
from training.data.config import SyntheticConfig

FIRST, LAST = 20260101, 20260106


def tiny_config(**train: object) -> RunConfig:
    return parse_config(
        {
            "data": {
                "reader": "columns",
                "train": f"{FIRST}:20260104",
                "validate": f"20260105:{LAST}",
            },
            "columns": synthetic.MAPPING.model_dump(mode="json", exclude_none=True),
            "history": synthetic.HISTORY.model_dump(mode="json", exclude_none=True),
            "slices": ["tab=1"],
            "model": {
                "trunk": {"kind": "ple", "levels": 2, "own": 1, "shared": 1, "hidden": [8]},
                "towers": [4],
                "embedding": 4,
                "log1p": ["videolen_s"],
            },
            "train": {"epochs": 2, "minibatch": 128, "patience": 2} | train,
            "tasks": [
                {"name": "ctr", "label": "click"},
                {"name": "cvr", "label": "buy", "space": "click", "loss": "none"},
                {"name": "ctcvr", "label": "buy", "product": ["ctr", "cvr"]},
                {"name": "vcr", "label": "vcr", "space": "play", "kind": "regression"},
                {"name": "stays", "label": "long_view", "beside": "ctr"},
            ],
        },
        name="tiny",
        source="tests",
    )


def on_parquet(found: RunConfig, **data: object) -> RunConfig:
    """A run without history, on Parquet files.

    Args:
        data: keys of [data].
    """
    assert found.columns is not None
    columns = found.columns.model_copy(update={"files": ("log-*.parquet",)})
    changed = found.data.model_copy(update=data)
    return found.model_copy(update={"columns": columns, "data": changed, "history": None})


def write_parquet(directory: Path) -> Path:
    """The same log as `write_log`, as three Parquet files of 500 rows."""
    place = write_log(directory)
    log = pl.read_csv(place / "log.csv")
    for number, part in enumerate(log.iter_slices(500)):
        part.write_parquet(place / f"log-{number}.parquet", row_group_size=180)
    (place / "log.csv").unlink()
    return place


def write_log(directory: Path) -> Path:
    """log.csv, users.csv and items.csv of six days."""
    world = SyntheticConfig(users=30, items=40, days=6, impressions_per_day=250)
    synthetic.write(directory, world)
    return directory


def quiet() -> Console:
    return Console(file=StringIO(), width=200)
