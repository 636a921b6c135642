"""Metrics against scikit-learn and plain loops over pairs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import ndcg_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from training.metrics import (
    auc,
    calibration_error,
    grouped_auc,
    log_loss,
    mse,
    ndcg,
    predicted_over_observed,
    reliability,
    roc_curve,
    top_rows,
    xauc,
)

rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 6), st.integers(0, 3)), min_size=2, max_size=60
)


@given(rows)
def test_auc_equals_scikit_learn_with_ties(rows):
    label, score, _ = (np.array(column, float) for column in zip(*rows, strict=True))
    if len(set(label)) < 2:
        assert math.isnan(auc(label, score))
    else:
        assert auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)


@given(rows)
def test_grouped_auc_is_the_row_weighted_mean_over_groups_with_both_classes(rows):
    label, score, group = (np.array(column, float) for column in zip(*rows, strict=True))
    total, weight = 0.0, 0
    for g in set(group):
        inside = group == g
        if len(set(label[inside])) == 2:
            total += inside.sum() * roc_auc_score(label[inside], score[inside])
            weight += inside.sum()
    found = grouped_auc(label, score, group.astype(str))
    if weight:
        assert found == pytest.approx(total / weight, abs=1e-12)
    else:
        assert math.isnan(found)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_xauc_equals_a_loop_over_all_pairs(rows):
    label, score = (np.array(column, float) for column in zip(*rows, strict=True))
    right, pairs = 0.0, 0
    for i in range(len(rows)):
        for j in range(len(rows)):
            if label[i] < label[j]:
                pairs += 1
                right += (score[i] < score[j]) + (score[i] == score[j]) / 2
    if pairs:
        assert xauc(label, score) == pytest.approx(right / pairs, abs=1e-12)
    else:
        assert math.isnan(xauc(label, score))


def test_xauc_of_a_binary_label_is_auc():
    random = np.random.default_rng(0)
    label, score = random.integers(0, 2, 500).astype(float), random.normal(size=500)
    assert xauc(label, score) == pytest.approx(auc(label, score), abs=1e-12)


def test_log_loss_equals_scikit_learn_and_survives_certainty():
    random = np.random.default_rng(0)
    label, score = random.integers(0, 2, 500).astype(float), random.uniform(size=500)
    assert log_loss(label, score) == pytest.approx(sklearn_log_loss(label, score), abs=1e-12)
    assert math.isfinite(log_loss(np.array([1.0, 0.0]), np.array([0.0, 1.0])))


def test_ratio_and_mse_are_what_they_say():
    label, score = np.array([1.0, 0.0, 0.0, 1.0]), np.array([0.9, 0.3, 0.2, 0.6])
    assert predicted_over_observed(label, score) == pytest.approx(1.0)
    assert mse(label, score) == pytest.approx((0.01 + 0.09 + 0.04 + 0.16) / 4)
    assert math.isnan(predicted_over_observed(np.zeros(2), np.ones(2)))


@given(rows)
def test_the_roc_curve_equals_scikit_learn_with_ties_and_encloses_the_auc(rows):
    label, score, _ = (np.array(column, float) for column in zip(*rows, strict=True))
    false, true = roc_curve(label, score)
    if len(set(label)) < 2:
        assert len(false) == len(true) == 0
    else:
        expected = sklearn_roc_curve(label, score, drop_intermediate=False)
        assert false == pytest.approx(expected[0], abs=1e-12)
        assert true == pytest.approx(expected[1], abs=1e-12)
        assert np.trapezoid(true, false) == pytest.approx(auc(label, score), abs=1e-12)


def test_reliability_groups_equal_scikit_learn_deciles():
    random = np.random.default_rng(0)
    score = random.random(5000)
    label = (random.random(5000) < score**2).astype(float)
    predicted, observed, rows = reliability(label, score)
    expected = calibration_curve(label, score, n_bins=10, strategy="quantile")
    assert observed == pytest.approx(expected[0], abs=1e-12)
    assert predicted == pytest.approx(expected[1], abs=1e-12)
    assert rows.tolist() == [500] * 10
    gap = np.mean([abs(o - p) for o, p in zip(*expected, strict=True)])
    assert calibration_error(label, score) == pytest.approx(gap, abs=1e-12)


@given(rows)
def test_reliability_keeps_every_row_and_equal_predictions_together(rows):
    label, score, _ = (np.array(column, float) for column in zip(*rows, strict=True))
    predicted, observed, counts = reliability(label, score, 4)
    assert counts.sum() == len(label)
    assert (predicted * counts).sum() == pytest.approx(score.sum())
    assert (observed * counts).sum() == pytest.approx(label.sum())
    assert (np.diff(predicted) > 0).all()
    assert len(reliability(label, np.ones(len(label)))[0]) == 1


def test_ndcg_is_the_mean_of_scikit_learn_over_groups_with_gain():
    random = np.random.default_rng(1)
    group = random.integers(0, 30, 400)
    gain, score = random.integers(0, 4, 400).astype(float), random.random(400)
    gain[group == 7] = 0
    expected = [
        ndcg_score([gain[group == g]], [score[group == g]], k=5) for g in set(group.tolist()) - {7}
    ]
    assert ndcg(gain, score, group, 5) == pytest.approx(np.mean(expected), abs=1e-12)
    assert math.isnan(ndcg(np.zeros(3), np.arange(3.0), np.zeros(3), 2))


def test_the_first_of_each_group_are_those_that_score_best_ties_in_the_given_order():
    group = np.array([5, 2, 5, 5, 2, 5])
    score = np.array([1.0, 3, 2, 1, 4, -np.inf])
    assert top_rows(score, group, 1).tolist() == [False, False, True, False, True, False]
    assert top_rows(score, group, 2).tolist() == [True, True, True, False, True, False]
    assert top_rows(score, group, 9).all()
