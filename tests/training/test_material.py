"""training/material.py: rows on disk give what rows in memory give, and memory stays flat."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
import torch

from tests.training.tiny import LAST, on_parquet, quiet, tiny_config
from training.config.run import RunConfig
from training.data.columns import WHOLE, Stripe
from training.data.errors import DataError
from training.data.log import Log
from training.data.reader import TableReader
from training.data.readers import reader_of
from training.dataset import Dataset
from training.learn import Places, learn
from training.material import Part, material_of
from training.reading import reader_for
from training.team import ALONE, Team

PIECE = 100


def config(rows_at_once: int | None = None, **train: object) -> RunConfig:
    """The tiny run without history, on Parquet files."""
    return on_parquet(tiny_config(**train), rows_at_once=rows_at_once)


@pytest.fixture
def directory(parquet_log: Path) -> Path:
    return parquet_log


def part_of(run: RunConfig, directory: Path, shards: Path) -> Part:
    material = material_of(run, reader_for(run), directory, shards, ALONE)
    return material.part(run.data.train_days)


def test_rows_on_disk_are_those_in_memory_with_the_same_schema(
    directory: Path, tmp_path: Path
) -> None:
    memory = part_of(config(), directory, tmp_path)
    disk = part_of(config(PIECE), directory, tmp_path)
    assert disk.schema == memory.schema
    assert disk.days == memory.days
    mapped, held = (part.data.thinned(len(memory.data)) for part in (disk, memory))
    assert mapped.inputs.keys() == held.inputs.keys()
    for name, block in held.inputs.items():
        assert torch.equal(mapped.inputs[name], block)
    assert torch.equal(mapped.labels, held.labels)
    assert torch.equal(mapped.spaces, held.spaces)


@dataclass(frozen=True, eq=False)
class Counting(TableReader):
    """Notes how many rows of pieces are alive whenever another piece comes."""

    alive: list[weakref.ref[Log]] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)

    def pieces(self, directory: Path, stripe: Stripe = WHOLE) -> Iterator[Log]:
        for log in super().pieces(directory, stripe):
            self.alive.append(weakref.ref(log))
            self.peaks.append(sum(found.rows for ref in self.alive if (found := ref()) is not None))
            yield log
            del log


def test_no_more_rows_are_held_than_two_pieces_and_the_validation_days(
    directory: Path, tmp_path: Path
) -> None:
    run = config(PIECE)
    plain = reader_for(run)
    assert isinstance(plain, TableReader)
    reader = Counting(
        plain.load, plain.mapping, plain.history, plain.chosen, load_pieces=plain.load_pieces
    )
    material = material_of(run, reader, directory, tmp_path, ALONE)
    reader.alive.clear()
    reader.peaks.clear()
    assert len(material.part(run.data.train_days).data) == 1000
    assert max(reader.peaks) <= 2 * PIECE
    passes = len(reader.peaks)
    assert passes >= 2 * 1500 / PIECE
    material.part(run.data.train_days)
    assert len(reader.peaks) == passes, "encoded once"


def test_a_run_from_disk_gives_the_metrics_of_a_run_in_memory(
    directory: Path, tmp_path: Path
) -> None:
    found = []
    for rows_at_once in (None, PIECE):
        run = config(rows_at_once, epochs=1, refit=True)
        places = Places(directory, tmp_path / "models", tmp_path / f"runs-{rows_at_once}")
        learned = learn(run, reader_for(run), places, quiet())
        found.append((learned.metrics, learned.rows, learned.days))
    assert found[0] == found[1]


def test_serving_records_are_the_same_without_holding_the_log(directory: Path) -> None:
    whole = reader_for(config()).records(directory, LAST)
    pieces = reader_for(config(PIECE)).records(directory, LAST)
    assert [list(side) for side in pieces] == [list(side) for side in whole]


@pytest.mark.parametrize("stripes", [1, 3])
def test_a_broken_cell_is_named_by_its_file_and_the_row_there(
    directory: Path, tmp_path: Path, stripes: int
) -> None:
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    second = tmp_path / "log-1.parquet"
    frame = pl.read_parquet(second)
    at = pl.int_range(pl.len()) == 333
    frame.with_columns(pl.when(at).then(2).otherwise("click").alias("click")).write_parquet(second)
    run = on_parquet(tiny_config(), rows_at_once=PIECE, stripes=stripes)
    with pytest.raises(DataError, match=r"log-1.parquet, column 'click', row 333\)$"):
        part_of(run, tmp_path, tmp_path / "shards")


def test_a_constant_label_is_refused_before_a_step(directory: Path, tmp_path: Path) -> None:
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for number in (0, 1):  # the training days
        path = tmp_path / f"log-{number}.parquet"
        pl.read_parquet(path).with_columns(click=pl.lit(1)).write_parquet(path)
    with pytest.raises(DataError) as refused:
        part_of(config(PIECE), tmp_path, tmp_path / "shards")
    assert str(refused.value) == (
        "task ctr: log-0.parquet and 2 more, column 'click' is 1 in all 1,000 of the training rows"
        " in space 'impression': nothing to learn"
    )
    assert not list(tmp_path.glob("shards/*/shards.json"))


def test_what_cannot_be_streamed_is_refused(directory: Path, tmp_path: Path) -> None:
    run = config(PIECE)
    with pytest.raises(DataError, match="reader 'kuairand': rows_at_once is for reader 'columns'"):
        reader_of(run.data.model_copy(update={"reader": "kuairand"}))
    history = tiny_config().history
    with pytest.raises(DataError, match=r"rows_at_once: \[history\] needs the whole log at once"):
        reader_of(run.data, columns_config=run.columns, history=history)
    (tmp_path / "log-0.parquet").write_text("user_id,item_id\n")
    for name in ("users.csv", "items.csv"):
        (tmp_path / name).write_bytes((directory / name).read_bytes())
    with pytest.raises(DataError, match=r"log-0.parquet cannot be read in pieces, as Parquet can"):
        part_of(run, tmp_path, tmp_path / "shards")


def test_stripes_have_every_row_once_and_the_same_schema(directory: Path, tmp_path: Path) -> None:
    memory = part_of(config(), directory, tmp_path)
    run = on_parquet(tiny_config(), rows_at_once=PIECE, stripes=3)
    disk = part_of(run, directory, tmp_path)
    assert disk.schema == memory.schema
    assert disk.days == memory.days
    mapped, held = (part.data.thinned(len(memory.data)) for part in (disk, memory))
    assert sorted(map(tuple, _numbers(mapped))) == sorted(map(tuple, _numbers(held)))


def _numbers(data: Dataset) -> list[list[float]]:
    blocks = [*data.inputs.values(), data.labels, data.spaces]
    return torch.cat([block.double() for block in blocks], dim=1).tolist()


def test_stripes_that_nobody_or_nothing_fills_are_refused(directory: Path, tmp_path: Path) -> None:
    many = on_parquet(tiny_config(), rows_at_once=PIECE, stripes=8)
    with pytest.raises(
        DataError,
        match=r"8 stripes: only 6 have rows of the training days 20260101:20260104; write the log"
        r" with smaller row groups, or ask for fewer stripes or processes",
    ):
        part_of(many, directory, tmp_path)
    one = on_parquet(tiny_config(), rows_at_once=PIECE, stripes=1)
    with pytest.raises(
        DataError, match=r"\[data\] stripes = 1 for 2 processes: each of them reads"
    ):
        material_of(one, reader_for(one), directory, tmp_path, Team(size=2))
    tiny = one.model_copy(update={"train": one.train.model_copy(update={"minibatch": 2})})
    thin = on_parquet(tiny, rows_at_once=PIECE, stripes=3)
    with pytest.raises(DataError, match="stripes = 3 for a minibatch of 2 rows: each gives one"):
        material_of(thin, reader_for(thin), directory, tmp_path, Team())
