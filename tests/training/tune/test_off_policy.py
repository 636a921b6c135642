"""SNIPS and DR against the truth of a log whose every outcome and chance is known."""

import numpy as np
import polars as pl
import pytest

from training.tune.lists import read_lists
from training.tune.off_policy import doubly_robust, outcome_model, snips

DEPTH = 3


def _log(lists=3000, size=10, seed=0, wrong_chances=False, hidden=0.0):
    """Every candidate was shown by itself with a chance that rises with what it is worth, so that
    what was shown is better than what was not, whatever the head says; (frame, truth by row).
    """
    random = np.random.default_rng(seed)
    rows = lists * size
    head = random.uniform(0.05, 0.95, rows)
    secret = random.uniform(-1, 1, rows)
    worth = 0.2 + 0.5 * head + hidden * secret
    chance = np.clip(0.4 + 0.3 * secret, 0.05, 1)
    shown = random.random(rows) < chance
    outcome = (random.random(rows) < worth).astype(float)
    frame = pl.DataFrame(
        {
            "row": np.arange(rows),
            "ctr": head,
            "user_id": "u",
            "day": 1,
            "request_id": np.arange(rows) // size,
            "label.click": np.where(shown, outcome, np.nan),
            "propensity": np.full(rows, 0.4) if wrong_chances else chance,
            "shown": shown,
        }
    )
    return frame, worth


def _values(frame, worth):
    """(lists, scores of a formula that puts small heads first, what its first three are worth)."""
    lists = read_lists(frame)
    scores = -lists.heads["ctr"]
    order = np.lexsort((-scores, lists.of_list)).reshape(lists.count, -1)
    return lists, scores, worth[order[:, :DEPTH]].mean()


def test_both_estimates_find_the_worth_of_a_formula_that_never_ran():
    frame, worth = _log(hidden=0.15)
    lists, scores, truth = _values(frame, worth)
    outcome = lists.labels["click"]
    for estimator in (snips, doubly_robust):
        found = estimator(lists, scores, outcome, DEPTH)
        assert abs(found.value - truth) < 3 * found.error, estimator.__name__
        assert found.error < 0.01
        assert 1000 < found.effective_rows < lists.shown.sum()
    top = np.argsort(np.argsort(scores.reshape(-1, 10), axis=1), axis=1).ravel() >= 10 - DEPTH
    naive = outcome[top & lists.shown].mean()
    assert naive > truth + 0.015, "what was shown flatters"


def test_a_good_outcome_model_saves_doubly_robust_from_wrong_chances_only():
    frame, worth = _log(wrong_chances=True)
    lists, scores, truth = _values(frame, worth)
    found = doubly_robust(lists, scores, lists.labels["click"], DEPTH)
    assert abs(found.value - truth) < 3 * found.error


def test_the_standard_error_is_the_spread_over_logs():
    found = {snips: [], doubly_robust: []}
    errors = {snips: [], doubly_robust: []}
    for seed in range(60):
        lists, scores, _ = _values(*_log(lists=200, seed=seed))
        for estimator in found:
            estimate = estimator(lists, scores, lists.labels["click"], DEPTH)
            found[estimator].append(estimate.value)
            errors[estimator].append(estimate.error)
    for estimator, values in found.items():
        assert np.std(values) == pytest.approx(np.mean(errors[estimator]), rel=0.3)


def test_with_every_candidate_shown_for_sure_both_are_the_plain_mean():
    frame, _ = _log(lists=50)
    frame = frame.with_columns(
        pl.col("label.click").fill_nan(0.0), propensity=pl.lit(1.0), shown=pl.lit(True)
    )
    lists, scores, _ = _values(frame, np.zeros(500))
    order = np.lexsort((-scores, lists.of_list)).reshape(50, -1)
    plain = lists.labels["click"][order[:, :DEPTH]].mean()
    for estimator in (snips, doubly_robust):
        found = estimator(lists, scores, lists.labels["click"], DEPTH)
        assert found.value == pytest.approx(plain, abs=1e-12)
        assert found.effective_rows == pytest.approx(150)


def test_nothing_shown_among_the_first_gives_no_estimate():
    frame, _ = _log(lists=5)
    frame = frame.with_columns(shown=pl.col("ctr") > pl.col("ctr").max().over("request_id") - 1e-9)
    lists = read_lists(frame)
    for estimator in (snips, doubly_robust):
        assert estimator(lists, -lists.heads["ctr"], lists.labels["click"], 1) is None


def test_the_outcome_model_never_judges_a_list_by_a_fit_that_saw_it():
    frame, _ = _log(lists=40)
    lists = read_lists(frame)
    outcome = lists.labels["click"]
    changed = np.where((lists.of_list == 4) & lists.shown, 1 - outcome, outcome)
    same_fold = lists.of_list % 2 == 0
    before, after = outcome_model(lists, outcome), outcome_model(lists, changed)
    assert np.array_equal(before[same_fold], after[same_fold])
    assert not np.array_equal(before[~same_fold], after[~same_fold])
