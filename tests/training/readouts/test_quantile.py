"""D2Q: uniform ranks in every group of durations, and the way back."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.readouts.quantile import Quantile


def _rows(n=20_000, seed=0):
    random = torch.Generator().manual_seed(seed)
    duration = 5 + 295 * torch.rand(n, generator=random, dtype=torch.float64)
    watched = duration * torch.rand(n, generator=random, dtype=torch.float64) ** 2
    return watched, duration


def _fitted(watched, duration, groups=10) -> Quantile:
    readout = Quantile(groups, "item_values", 1).double()
    readout.fit(watched, duration)
    return readout


def test_ranks_are_uniform_in_every_group():
    watched, duration = _rows()
    readout = _fitted(watched, duration)
    rank, group = readout.rank(watched, duration), readout._group(duration)
    assert group.unique().tolist() == list(range(10))
    for at in range(10):
        ranks = rank[group == at].sort().values
        steps = torch.arange(1, len(ranks) + 1) / len(ranks)
        assert (ranks - steps).abs().max() < 0.011, "Kolmogorov-Smirnov distance to the uniform"


def test_the_way_back_is_the_identity_on_observed_amounts_in_range():
    watched, duration = _rows(5000)
    readout = _fitted(watched, duration)
    group = readout._group(duration)
    least, most = readout.amounts[group, 0], readout.amounts[group, -1]
    assert ((watched >= least) & (watched <= most)).all()
    back = readout(torch.logit(readout.rank(watched, duration)), duration)
    torch.testing.assert_close(back, watched, atol=1e-7, rtol=0)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=300))
def test_amounts_that_many_rows_share_come_back_too(amounts):
    watched = torch.tensor(amounts, dtype=torch.float64)
    duration = torch.ones(len(amounts), dtype=torch.float64)
    readout = _fitted(watched, duration, groups=3)
    rank = readout.rank(watched, duration)
    assert ((rank >= 0) & (rank <= 1)).all()
    back = readout(torch.logit(rank), duration)
    torch.testing.assert_close(back, watched, atol=1e-7, rtol=0)


def test_ranks_and_amounts_rise_together_inside_a_group():
    watched, duration = _rows(3000)
    readout = _fitted(watched, duration)
    amounts = torch.linspace(0, 400, 1000, dtype=torch.float64)
    ranks = readout.rank(amounts, torch.full_like(amounts, 90.0))
    assert (ranks.diff() >= 0).all()
    said = readout(torch.linspace(-9, 9, 500).double(), torch.full((500,), 90.0).double())
    assert (said.diff() >= 0).all()


def test_what_duration_alone_says_is_gone_from_the_rank():
    watched, duration = _rows()
    rank = _fitted(watched, duration, groups=30).rank(watched, duration)
    raw = torch.corrcoef(torch.stack([watched, duration]))[0, 1].item()
    left = torch.corrcoef(torch.stack([rank, duration]))[0, 1].item()
    assert raw > 0.4
    assert abs(left) < 0.02


def test_a_group_without_rows_takes_the_distribution_of_all():
    watched = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    readout = Quantile(3, "item_values", 0).double()
    readout.fit(watched, torch.tensor([5.0, 5.0, 5.0, 5.0], dtype=torch.float64))
    low = torch.tensor([1.0], dtype=torch.float64)
    assert readout(torch.tensor([0.0], dtype=torch.float64), low).item() == 2.5


def test_it_reads_the_duration_from_its_column_and_learns_the_rank():
    watched, duration = _rows(50)
    readout = _fitted(watched, duration)
    inputs = {"item_values": torch.stack([torch.zeros_like(duration), duration], dim=1)}
    assert torch.equal(readout.side(inputs), duration)
    logit = torch.randn(50, dtype=torch.float64)
    expected = (torch.sigmoid(logit) - readout.rank(watched, duration)) ** 2
    torch.testing.assert_close(readout.loss(logit, watched, duration), expected)
