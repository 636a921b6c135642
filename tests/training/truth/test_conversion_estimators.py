"""What is true of ESMM, click-only, IPS and AMAN where the truth is known (reference 5.3, a-c, f).

Claims (d) and (e), which rows and embeddings a loss reaches, are in rankers/test_ranker.py.
"""

import numpy as np
import pytest
import torch

from training.losses import binary, doubly_robust, inverse_propensity, product
from training.truth.conversion_estimators import learn, least
from training.truth.conversion_page import estimate
from training.truth.conversion_worlds import WORLDS, population

WELL, MISSPECIFIED, RARE, HIDDEN = WORLDS


def _truth(world):
    curves = world.curves()
    return float(curves["density"] @ curves["cvr"])


def _means(world):
    return {
        name: estimate(world, name, seeds=0).mean for name in ("click-only", "ESMM", "IPS", "AMAN")
    }


def test_a_saturated_esmm_says_the_frequencies_of_every_cell():
    rng = np.random.default_rng(0)
    cell = torch.from_numpy(rng.integers(0, 6, 5000))
    click = torch.from_numpy(rng.random(5000) < 0.1 + 0.1 * cell.numpy())
    buy = click & torch.from_numpy(rng.random(5000) < 0.5 - 0.05 * cell.numpy())

    def loss(both):
        a, b = both[cell], both[6 + cell]
        return (binary(a, click.double()) + product([a, b], buy.double())).mean()

    a, b = torch.sigmoid(least(loss, torch.zeros(12))).split(6)
    for number in range(6):
        of_cell = cell == number
        clicks = click[of_cell].sum().item()
        expected = clicks / of_cell.sum().item()
        assert a[number].item() == pytest.approx(expected, abs=1e-5)
        expected = buy[of_cell].sum().item() / clicks
        assert b[number].item() == pytest.approx(expected, abs=1e-5)


def test_where_the_model_can_say_the_truth_clicks_alone_suffice_and_negatives_do_not():
    truth, means = _truth(WELL), _means(WELL)
    for name in ("click-only", "ESMM", "IPS"):
        assert means[name] == pytest.approx(truth, abs=1e-5)
        lines = learn(name, population(WELL))
        assert lines.ctr == pytest.approx((1.5, -2.5), abs=1e-4)
        assert lines.cvr == pytest.approx((0.8, -1.0), abs=1e-4)
    assert means["AMAN"] < 0.25 * truth


def test_a_drawn_log_gives_the_truth_within_its_sampling_error():
    truth = _truth(WELL)
    for name in ("click-only", "ESMM", "IPS"):
        drawn = estimate(WELL, name, rows=20_000, seeds=5)
        assert drawn.spread > 0
        assert abs(drawn.mean - truth) < 2 * drawn.spread


def test_where_it_cannot_esmm_is_as_wrong_as_clicks_alone_and_ips_is_right():
    truth, means = _truth(MISSPECIFIED), _means(MISSPECIFIED)
    assert means["click-only"] < 0.7 * truth
    assert means["ESMM"] == pytest.approx(means["click-only"], rel=0.05)
    assert means["IPS"] == pytest.approx(truth, rel=1e-3)
    losses = {name: estimate(MISSPECIFIED, name, seeds=0).log_loss for name in means}
    assert min(losses, key=losses.get) == "IPS"
    assert losses["ESMM"] > losses["IPS"] + 0.05


def test_the_rarer_conversions_are_the_less_esmm_differs_from_clicks_alone():
    def apart(world):
        means = _means(world)
        return abs(means["ESMM"] / means["click-only"] - 1)

    assert apart(RARE) < apart(MISSPECIFIED) / 10


def test_nobody_recovers_what_a_hidden_cause_does():
    truth, means = _truth(HIDDEN), _means(HIDDEN)
    for name, mean in means.items():
        assert abs(mean / truth - 1) > 0.5, name


def test_the_doubly_robust_loss_moves_the_cvr_logit_as_ips_does():
    random = torch.Generator().manual_seed(0)
    b, imputed = (torch.randn(50, generator=random, dtype=torch.float64) for _ in range(2))
    click = torch.rand(50, generator=random) < 0.3
    label = (torch.rand(50, generator=random) < 0.5).double() * click
    propensity = torch.rand(50, generator=random).double().clamp(min=0.05)
    b.requires_grad_()
    robust, _ = doubly_robust(binary(b, label), imputed, click, propensity)
    (of_robust,) = torch.autograd.grad(robust.sum(), b)
    ips = inverse_propensity(binary(b, label), click, propensity)
    (of_ips,) = torch.autograd.grad(ips.sum(), b)
    torch.testing.assert_close(of_robust, of_ips, rtol=0, atol=1e-12)
