"""LightGBM on our rows: one model a head, each on its own sample space."""

import numpy as np
import pytest

from tests.training.peers.rows import generated_rows
from training.metrics import auc
from training.peers.peer import peer_of


@pytest.fixture
def train():
    pytest.importorskip("lightgbm", reason="needs the extra `peers`")
    return peer_of("lightgbm")


def test_every_head_is_learned_on_the_rows_of_its_space(train):
    rows = generated_rows()
    answer = train(rows, 1, rounds=40, min_data_in_leaf=5)
    assert set(answer.predictions) == {"ctr", "vcr"}
    click = rows.measured.labels[:, 0].double().numpy()
    assert auc(click, answer.predictions["ctr"].astype(float)) > 0.53
    labels, spaces = rows.train.labels[:, 1], rows.train.spaces[:, 1]
    of_plays = labels[spaces].mean().item()
    assert of_plays > labels.mean().item() + 0.1
    assert answer.predictions["vcr"].mean() == pytest.approx(of_plays, abs=0.05)


def test_the_same_seed_gives_the_same_predictions(train):
    rows = generated_rows()
    once, again = (train(rows, 3, rounds=5).predictions["ctr"] for _ in range(2))
    np.testing.assert_array_equal(once, again)
