"""Metrics against scikit-learn and plain loops over pairs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from training.metrics import auc, grouped_auc, log_loss, mse, predicted_over_observed, xauc

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
