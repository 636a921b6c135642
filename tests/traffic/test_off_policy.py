"""SNIPS and DR against the truth of a log whose every outcome and chance is known."""

import numpy as np
import pytest

from service.traffic.off_policy import Shown, doubly_robust, outcome_model, snips

REQUESTS, CANDIDATES, FIRST = 4_000, 12, 3


def world(seed, wrong_chances=False):
    random = np.random.default_rng(seed)
    rows = REQUESTS * CANDIDATES
    head = random.random((REQUESTS, CANDIDATES))
    worth = 0.1 + 0.5 * head
    chance = 0.2 + 0.6 * (1 - head)  # the running policy likes what is worth little
    shown = random.random(head.shape) < chance
    reward = np.where(shown, random.random(head.shape) < worth, np.nan)
    top = np.argsort(np.argsort(-head, axis=1), axis=1) < FIRST
    found = Shown(
        of_request=np.repeat(np.arange(REQUESTS), CANDIDATES),
        inputs=head.reshape(rows, 1),
        reward=reward.reshape(rows),
        chance=np.full(rows, 0.4) if wrong_chances else chance.reshape(rows),
    )
    return found, top.reshape(rows), float(worth[top].mean())


@pytest.mark.parametrize("seed", range(3))
def test_both_find_what_the_first_places_are_worth(seed):
    shown, top, truth = world(seed)
    for found in (snips(shown, top), doubly_robust(shown, top, outcome_model(shown))):
        assert abs(found.value - truth) < 4 * found.error
        assert found.error < 0.02


def test_dr_holds_with_wrong_chances_when_the_model_is_right():
    shown, top, truth = world(7, wrong_chances=True)
    found = doubly_robust(shown, top, outcome_model(shown))
    assert abs(found.value - truth) < 4 * found.error


def test_with_every_candidate_shown_snips_is_the_mean():
    shown, top, _ = world(1)
    reward = np.nan_to_num(shown.reward)
    everything = Shown(shown.of_request, shown.inputs, reward, np.ones(len(reward)))
    assert snips(everything, top).value == pytest.approx(reward[top].mean())
    guess = np.random.default_rng(0).random(len(reward))
    assert doubly_robust(everything, top, guess).value == pytest.approx(reward[top].mean())


def test_nothing_is_said_of_what_was_never_shown():
    shown, top, _ = world(1)
    dark = Shown(shown.of_request, shown.inputs, np.full(len(top), np.nan), shown.chance)
    assert snips(dark, top) is None
    assert doubly_robust(dark, top, shown.chance) is None


def test_they_are_those_of_training():
    polars = pytest.importorskip("polars")
    from training.tune import off_policy as theirs
    from training.tune.lists import read_lists

    shown, top, _ = world(3)
    frame = polars.DataFrame(
        {
            "request_id": shown.of_request,
            "user_id": shown.of_request.astype(str),
            "ctr": shown.inputs[:, 0],
            "label.buy": shown.reward,
            "propensity": shown.chance,
            "shown": np.isfinite(shown.reward),
        }
    )
    lists = read_lists(frame)
    outcome = lists.labels["buy"]
    for ours, other in (
        (snips(shown, top), theirs.snips(lists, lists.heads["ctr"], outcome, FIRST)),
        (
            doubly_robust(shown, top, outcome_model(shown)),
            theirs.doubly_robust(lists, lists.heads["ctr"], outcome, FIRST),
        ),
    ):
        assert ours.value == pytest.approx(other.value)
        assert ours.error == pytest.approx(other.error)
