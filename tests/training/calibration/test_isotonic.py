"""Isotonic calibration against scikit-learn: pools, lines between them, strictly rising."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.calibration.isotonic import fit_isotonic, pool_adjacent
from training.metrics import auc


def _rows(n=20_000, seed=0):
    random = torch.Generator().manual_seed(seed)
    logit = 1.5 * torch.randn(n, generator=random, dtype=torch.float64) - 1
    truth = torch.sigmoid(logit) ** 2  # no Platt scaling undoes this
    return logit, (torch.rand(n, generator=random, dtype=torch.float64) < truth).double()


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(1, 5)), min_size=1, max_size=40).map(
        lambda pairs: [(y / 8, w) for y, w in pairs]
    )
)
def test_pools_are_those_of_scikit_learn(bins):
    isotonic = pytest.importorskip("sklearn.isotonic")
    label, rows = (torch.tensor(v, dtype=torch.float64) for v in zip(*bins, strict=True))
    logit = torch.arange(len(label), dtype=torch.float64)
    pools = pool_adjacent(logit, label, rows)
    found = np.concatenate(
        [
            np.full(int(((logit >= lo) & (logit < hi)).sum()), pool[1])
            for pool, lo, hi in _spans(pools, rows)
        ]
    )
    expected = isotonic.isotonic_regression(label.numpy(), sample_weight=rows.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-12)


def _spans(pools, rows):
    """Each pool with the first bin it holds and the first of the next."""
    ends = np.cumsum(rows.numpy())
    done, first = 0.0, 0
    for pool in pools:
        done += pool[2]
        last = int(np.searchsorted(ends, done - 1e-9)) + 1
        yield pool, first, last
        first = last


def test_between_pools_it_is_the_line_through_their_means():
    logit, label = _rows()
    found = fit_isotonic(logit, label).double()
    knots, values = found.logits.numpy(), found.values.numpy()
    inside = np.linspace(knots[0], knots[-1], 999)
    expected = np.interp(inside, knots, values)
    np.testing.assert_allclose(found(torch.from_numpy(inside)).numpy(), expected, atol=1e-6)


def test_it_recovers_a_truth_that_no_sigmoid_has():
    found = fit_isotonic(*_rows(n=400_000)).double()
    logit = torch.linspace(-3, 2.5, 100, dtype=torch.float64)
    assert (found(logit) - torch.sigmoid(logit) ** 2).abs().max() < 0.02


def test_predictions_sum_to_the_labels():
    logit, label = _rows()
    ratio = fit_isotonic(logit, label)(logit).sum().item() / label.sum().item()
    assert ratio == pytest.approx(1, abs=0.005)


def test_it_rises_strictly_so_the_order_of_items_stays():
    logit, label = _rows()
    found = fit_isotonic(logit, label).double()
    steps = found(torch.linspace(-12, 12, 2000, dtype=torch.float64)).diff()
    assert (steps > 0).all()
    calibrated = found(logit).numpy()
    assert auc(label.numpy(), calibrated) == auc(label.numpy(), logit.numpy())
    assert (calibrated > 0).all()
    assert (calibrated < 1).all()


def test_no_line_is_so_steep_that_rounding_shows():
    logit = torch.cat([torch.full((500,), 1.0), torch.full((500,), 1.0 + 1e-6)])
    label = (torch.arange(1000) >= 500).float()
    assert fit_isotonic(logit, label) is None, "one step is no calibration"
    spread = torch.cat([torch.linspace(-3, 0, 500), torch.linspace(1e-5, 3, 500)])
    assert fit_isotonic(spread, label).slopes.max() <= 2


def test_labels_that_never_rise_give_none():
    assert fit_isotonic(torch.arange(10.0), torch.linspace(1, 0, 10)) is None
