"""torch-rechub on our rows: learns something, repeats itself, stays in 0 … 1."""

import numpy as np
import pytest

from tests.training.peers.rows import generated_rows
from training.metrics import auc
from training.peers.peer import peer_of

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def train():
    pytest.importorskip("torch_rechub", reason="needs the extra `peers`")
    return peer_of("torch-rechub")


@pytest.mark.parametrize("model", ["shared-bottom", "mmoe", "ple"])
def test_each_model_predicts_every_head_better_than_chance(train, model):
    rows = generated_rows()
    answer = train(rows, 1, model=model, epochs=8, minibatch=64, patience=8, learning_rate=1e-2)
    assert set(answer.predictions) == {"ctr", "vcr"}, "auxiliary tasks are ours alone"
    for said in answer.predictions.values():
        assert said.shape == (len(rows.measured),)
        assert ((said >= 0) & (said <= 1)).all()
    click = rows.measured.labels[:, 0].double().numpy()
    assert auc(click, answer.predictions["ctr"].astype(float)) > 0.53
    assert answer.epochs <= 8


def test_the_same_seed_gives_the_same_predictions(train):
    rows = generated_rows()
    settings = {"model": "mmoe", "epochs": 1, "minibatch": 128}
    once, again, other = (train(rows, seed, **settings).predictions["ctr"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


def test_a_model_it_does_not_have_is_refused(train):
    with pytest.raises(ValueError, match="'cgc' is none of shared-bottom, mmoe, ple"):
        train(generated_rows(), 1, model="cgc", epochs=1, minibatch=64)
