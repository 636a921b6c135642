"""training/data/world.py: the closed forms of the true probabilities, held to draws."""

import numpy as np
import pytest

from training.data.config import SyntheticConfig
from training.data.world import OVERRUN, TABS, World, mean_completion

WORLD = World(SyntheticConfig(users=50, items=80, days=4, impressions_per_day=25_000, seed=5))


@pytest.mark.parametrize("shape", [0.2, 1.0, 4.0])
def test_the_mean_completion_is_that_of_its_draws(shape: float) -> None:
    draws = np.minimum(1, OVERRUN * np.random.default_rng(0).random(400_000) ** (1 / shape))
    assert mean_completion(np.array([shape]))[0] == pytest.approx(draws.mean(), abs=0.002)


def test_every_pair_has_heads_that_are_probabilities() -> None:
    user, item = (a.ravel() for a in np.meshgrid(np.arange(50), np.arange(80)))
    noon = np.full(len(user), 12)
    truth = WORLD.truth(user, item, hour=noon, tab=np.zeros(len(user), int))
    assert set(truth) == {"ctr", "cvr", "vtr", "vcr", "like"}
    for head in truth.values():
        assert head.shape == (4_000,)
        assert ((head > 0) & (head < 1)).all()
    assert (truth["vtr"] <= truth["ctr"]).all()
    assert (truth["like"] <= truth["ctr"]).all()


def test_what_happens_in_the_log_is_what_truth_says() -> None:
    log = WORLD.impressions()
    user = log["user_id"].str.slice(1).cast(int).to_numpy()
    item = log["item_id"].str.slice(1).cast(int).to_numpy()
    tab = np.searchsorted(TABS, log["tab"].to_numpy())
    truth = WORLD.truth(user, item, hour=log["hour"].to_numpy(), tab=tab)
    click = log["click"].to_numpy().astype(bool)
    everywhere = np.ones(len(log), bool)
    for head, column, space in [
        ("ctr", "click", everywhere),
        ("vtr", "long_view", everywhere),
        ("like", "like", everywhere),
        ("cvr", "buy", click),
        ("vcr", "completion", click),
    ]:
        seen, true = log[column].to_numpy()[space].astype(float), truth[head][space]
        error = np.sqrt(np.mean(true * (1 - true)) / space.sum())
        assert seen.mean() == pytest.approx(true.mean(), abs=4 * error), head
        high = true > np.median(true)
        assert seen[high].mean() == pytest.approx(true[high].mean(), abs=6 * error), head


def test_times_rise_and_fall_on_their_days() -> None:
    log = WORLD.impressions()
    assert log["time_ms"].is_sorted()
    days = (log["time_ms"] // 86_400_000).unique().sort()
    assert (days - days[0]).to_list() == [0, 1, 2, 3]
