"""Platt scaling against scikit-learn and its identities."""

import pytest
import torch

from training.calibration.platt import fit_platt


def _rows(n=4000, seed=0, slope=0.6, offset=-1.0):
    random = torch.Generator().manual_seed(seed)
    logit = 2 * torch.randn(n, generator=random, dtype=torch.float64) - 2
    truth = torch.sigmoid(slope * logit + offset)
    return logit, (torch.rand(n, generator=random, dtype=torch.float64) < truth).double()


def test_slope_and_offset_are_those_of_an_unregularised_logistic_regression():
    linear_model = pytest.importorskip("sklearn.linear_model")
    logit, label = _rows()
    oracle = linear_model.LogisticRegression(C=1e12, tol=1e-12, max_iter=1000)
    oracle.fit(logit.numpy().reshape(-1, 1), label.numpy())
    found = fit_platt(logit, label)
    assert found.slope.item() == pytest.approx(oracle.coef_[0, 0], abs=1e-5)
    assert found.offset.item() == pytest.approx(oracle.intercept_[0], abs=1e-5)


def test_predictions_sum_to_the_labels_soft_ones_too():
    logit, _ = _rows()
    for label in (_rows()[1], torch.rand(len(logit), dtype=torch.float64)):
        found = fit_platt(logit, label).double()
        assert found(logit).sum().item() == pytest.approx(label.sum().item(), rel=1e-5)


def test_it_undoes_a_known_distortion():
    found = fit_platt(*_rows(n=200_000))
    assert found.slope.item() == pytest.approx(0.6, abs=0.02)
    assert found.offset.item() == pytest.approx(-1.0, abs=0.03)


def test_where_the_order_would_be_lost_only_the_offset_is_fitted():
    logit, label = _rows(slope=-0.8, offset=-2.0)
    found = fit_platt(logit, label).double()
    assert found.slope.item() == 1
    assert found(logit).sum().item() == pytest.approx(label.sum().item(), rel=1e-5)


def test_extreme_or_constant_logits_are_fitted_still():
    label = torch.tensor([0.0, 0.0, 1.0, 0.0])
    constant = fit_platt(torch.full((4,), -3.0), label)
    assert constant(torch.full((4,), -3.0)).mean().item() == pytest.approx(0.25, abs=1e-5)
    apart = fit_platt(torch.tensor([-200.0, -100.0, 150.0, 200.0]), label)
    assert torch.isfinite(apart(torch.tensor([-500.0, 0.0, 500.0]))).all()
