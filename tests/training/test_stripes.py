"""training/stripes.py: the minibatches are those of the stripes, whoever reads them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.dataset import Dataset
from training.stripes import Stripes
from training.team import ALONE, Team


def rows(lengths: list[int]) -> list[Dataset]:
    """Stripes whose only input is the number of the row over all of them."""
    numbers = torch.arange(sum(lengths), dtype=torch.int32).unsqueeze(1)
    return [
        Dataset({"user_ids": part}, part.float(), torch.ones(len(part), 1, dtype=torch.bool))
        for part in numbers.split(lengths)
    ]


def stripes(lengths: list[int], opened: list[int] | None = None) -> Stripes:
    parts = rows(lengths)

    def open_stripe(number: int) -> Dataset:
        if opened is not None:
            opened.append(number)
        return parts[number]

    return Stripes(lengths, open_stripe, "digest")


def numbers(data: Dataset) -> list[int]:
    return data.inputs["user_ids"][:, 0].tolist()


LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@given(LENGTHS, st.integers(1, 30), st.integers(0, 3))
def test_an_epoch_has_every_row_once_in_minibatches_of_about_the_size(lengths, size, epoch):
    found = list(stripes(lengths).portions(size, ALONE, seed=1, epoch=epoch))
    assert sorted(n for portion in found for n in numbers(portion.mine)) == list(
        range(sum(lengths))
    )
    assert len(found) == -(-sum(lengths) // size)
    assert all(abs(sum(p.counts) - size) < len(lengths) + 1 for p in found[:-1])


@given(LENGTHS, st.integers(1, 30), st.integers(2, 4))
def test_the_portions_of_a_team_are_the_minibatches_of_one_process_in_its_order(
    lengths, size, processes
):
    alone = list(stripes(lengths).portions(size, ALONE, seed=3, epoch=1))
    teams = [
        list(stripes(lengths).portions(size, Team(rank, processes), seed=3, epoch=1))
        for rank in range(min(processes, len(lengths)))
        if len(lengths) >= processes
    ]
    for minibatch, *portions in zip(alone, *teams, strict=True) if teams else ():
        assert numbers(minibatch.mine) == [n for p in portions for n in numbers(p.mine)]
        assert all(p.counts == [len(q.mine) for q in portions] for p in portions)


def test_a_process_opens_no_stripe_but_its_own():
    for rank, own in ((0, [0, 1]), (1, [2, 3])):
        opened: list[int] = []
        list(stripes([5, 6, 7, 8], opened).portions(4, Team(rank, 2), seed=1, epoch=0))
        assert opened == own


@pytest.mark.parametrize("size", [1, 7, 20, 64])
def test_one_stripe_gives_the_minibatches_of_the_same_rows_in_memory(size):
    (memory,) = rows([20])
    disk = stripes([20]).portions(size, ALONE, seed=5, epoch=2)
    wanted = memory.minibatches(size, seed=5, epoch=2)
    assert [numbers(p.mine) for p in disk] == [numbers(m) for m in wanted]


def test_a_start_in_the_middle_gives_the_rest():
    whole = [numbers(p.mine) for p in stripes([9, 4]).portions(3, ALONE, seed=1, epoch=0)]
    rest = stripes([9, 4]).portions(3, ALONE, seed=1, epoch=0, start=2)
    assert [numbers(p.mine) for p in rest] == whole[2:]


def test_thinned_rows_are_spread_over_all_stripes():
    assert numbers(stripes([4, 8]).thinned(6)) == [0, 2, 4, 6, 8, 10]
    assert numbers(stripes([4, 8]).thinned(100)) == list(range(12))
