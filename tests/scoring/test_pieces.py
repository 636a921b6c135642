"""A request in pieces has the bits of the same request run whole, whoever did them."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.repository import Repository
from service.scoring.errors import RunStopped
from service.scoring.package import LoadedModel, load_package
from service.scoring.pieces import LEAST_ROWS, in_pieces, rows_of
from service.scoring.session import Heads, Stop, filled_up
from service.scoring.workers import Workers


class Alone:
    """A crew whose idle threads never come in time."""

    def __init__(self, idle: int) -> None:
        self.idle = idle

    def share(self, tasks: Sequence[Callable[[], None]]) -> float:
        for task in tasks:
            task()
        return 1_000.0


@pytest.fixture
def crew() -> Iterator[Workers]:
    workers = Workers(3)
    yield workers
    workers.close()


@pytest.fixture(scope="module")
def model(models: Path) -> LoadedModel:
    return load_package(Repository(models), "tiny", 1)


async def all_idle(workers: Workers) -> None:
    while workers.idle < workers.threads:  # noqa: ASYNC110, threads set no event
        await asyncio.sleep(0.001)


def numbers(piece: slice, rows: int) -> Heads:
    return {"ctr": np.arange(rows, dtype=np.float32)[piece]}


@given(rows=st.integers(1, 3_000), idle=st.integers(0, 20))
def test_pieces_are_all_rows_once_in_order(rows: int, idle: int) -> None:
    pieces: list[slice] = []

    def run(piece: slice) -> Heads:
        pieces.append(piece)
        return numbers(piece, rows)

    heads, _ = in_pieces(rows, run, Alone(idle))
    assert heads["ctr"].tolist() == list(range(rows))
    assert len(pieces) <= idle + 1
    sizes = [len(range(rows)[piece]) for piece in pieces]
    assert len(sizes) == 1 or min(sizes[:-1]) >= LEAST_ROWS
    assert all(size == filled_up(size) for size in sizes[:-1])


def test_nobody_idle_means_one_run_of_all_rows() -> None:
    for crew in (None, Alone(0)):
        pieces = []

        def run(piece: slice, pieces: list[slice] = pieces) -> Heads:
            pieces.append(piece)
            return {}

        _, helped_s = in_pieces(1_000, run, crew)
        assert (pieces, helped_s) == ([slice(None)], 0.0)


def test_what_threads_worked_beyond_the_time_it_took_is_told() -> None:
    helped_s = in_pieces(1_000, lambda piece: numbers(piece, 1_000), Alone(1))[1]
    assert 900 < helped_s < 1_000


async def test_pieces_have_the_bits_of_the_whole(model: LoadedModel, crew: Workers) -> None:
    golden = model.golden.encoded
    for rows in (LEAST_ROWS * 2, 300, 500, 777):
        at = np.arange(rows) % len(model.golden.raw)
        blocks = {
            name: block[:1] if model.schema.inputs[name][0] in ("user", "context") else block[at]
            for name, block in golden.items()
        }
        whole = model.graphs.run(blocks)
        seen: list[slice] = []

        def run(piece: slice, blocks: Heads = blocks, seen: list[slice] = seen) -> Heads:
            seen.append(piece)
            return model.graphs.run(rows_of(blocks, piece))

        await all_idle(crew)
        found, _ = await crew.run(
            lambda rows=rows, run=run: in_pieces(rows, run, crew), timeout_s=30, stop=lambda: None
        )
        assert len(seen) == min(crew.threads, rows // LEAST_ROWS)
        for head, values in whole.items():
            np.testing.assert_array_equal(found[head], values, err_msg=head)


async def test_stop_ends_every_piece(model: LoadedModel, crew: Workers) -> None:
    stop, begun = Stop(), threading.Barrier(3)
    blocks = {name: np.repeat(block[:1], 600, 0) for name, block in model.golden.encoded.items()}

    def run(piece: slice) -> Heads:
        begun.wait(10)
        stop.set()
        return model.graphs.run(rows_of(blocks, piece), stop)

    await all_idle(crew)
    with pytest.raises(RunStopped):
        await crew.run(lambda: in_pieces(600, run, crew), timeout_s=30, stop=lambda: None)
