"""The loop: reproducible, resumable after a kill bit for bit, stopping where the criterion says."""

import math
import multiprocessing
import os
import signal
from functools import partial

import pytest
import torch

from service.contract.features import Categorical, FeatureSchema, Numeric
from training.checkpoint import CheckpointError
from training.config.run import RunConfig
from training.dataset import Dataset
from training.loop import fit, predict, start_at_base_rates
from training.rankers.build import build_ranker

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="user_id", side="user", hash_buckets=5),
        Numeric(name="price", side="item", default=0),
    )
)


def _config(**train):
    return RunConfig.model_validate(
        {
            "name": "tiny",
            "data": {"reader": "synthetic", "train": "20260101:", "validate": "20260102:"}
            | {"train": "20260101:20260101"},
            "model": {"trunk": {"kind": "mmoe", "experts": 2, "hidden": [8]}, "towers": [4]},
            "train": {"minibatch": 32, "epochs": 3, "patience": 9, "checkpoint_every": 2} | train,
            "tasks": [{"name": "ctr", "label": "click"}],
        }
    )


def _data(rows=200):
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 6, (rows, 1), generator=random, dtype=torch.int32)
    price = torch.randn(rows, 1, generator=random)
    click = (torch.rand(rows, 1, generator=random) < torch.sigmoid(2 * price)).float()
    return Dataset(
        {"user_ids": ids, "item_values": price}, click, torch.ones(rows, 1, dtype=torch.bool)
    )


class _Watcher:
    """Kills the process (or raises) at a given step."""

    def __init__(self, die_at=None, how=None):
        self.steps, self.epochs, self.die_at, self.how = 0, [], die_at, how

    def step(self, epoch, step, steps, rows, losses):
        assert math.isfinite(losses["ctr"])
        self.steps += 1
        if self.steps == self.die_at:
            self.how()

    def epoch(self, epoch, metrics):
        self.epochs.append(metrics["score"])


def _ranker(config):
    torch.manual_seed(config.train.seed)
    ranker = build_ranker(SCHEMA, config.model, config.tasks)
    start_at_base_rates(ranker, config.tasks, _data())
    return ranker


def _judge(scores=None):
    """Scores by epoch; without any, something that depends on the weights."""
    left = list(scores or [])

    def judge(ranker):
        score = left.pop(0) if left else -float(ranker.towers.out.bias.abs().sum())
        return score, {"score": score}

    return judge


def _train(config, checkpoint=None, watcher=None, scores=None, **options):
    ranker = _ranker(config)
    position = fit(
        ranker,
        _data(),
        config,
        judge=_judge(scores),
        watcher=watcher or _Watcher(),
        checkpoint=checkpoint,
        **options,
    )
    return ranker.state_dict(), position


def _same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_does_not():
    once, _ = _train(_config())
    again, _ = _train(_config())
    other, _ = _train(_config(seed=2))
    assert _same(once, again)
    assert not _same(once, other)


def _train_and_be_killed(checkpoint, step):
    torch.set_num_threads(1)
    kill = partial(os.kill, os.getpid(), signal.SIGKILL)
    _train(_config(), checkpoint, _Watcher(step, kill))


def test_a_run_killed_with_kill_9_ends_with_the_same_weights(tmp_path):
    checkpoint = tmp_path / "runs" / "search.safetensors"
    process = multiprocessing.get_context("spawn").Process(
        target=_train_and_be_killed, args=(checkpoint, 12)
    )
    process.start()
    process.join(timeout=50)
    assert process.exitcode == -signal.SIGKILL
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        watcher = _Watcher()
        resumed, position = _train(_config(), checkpoint, watcher)
        whole, expected = _train(_config())
    finally:
        torch.set_num_threads(threads)
    assert watcher.steps < 21, "it did not begin anew"
    assert _same(resumed, whole)
    assert position == expected


@pytest.mark.parametrize("step", [1, 2, 6, 7, 8, 20])  # 7 steps an epoch, a checkpoint every 2
def test_a_run_stopped_at_any_step_ends_with_the_same_weights(tmp_path, step):
    checkpoint = tmp_path / "search.safetensors"
    with pytest.raises(KeyboardInterrupt):
        _train(_config(), checkpoint, _Watcher(step, partial(_raise, KeyboardInterrupt)))
    resumed, position = _train(_config(), checkpoint)
    whole, expected = _train(_config())
    assert _same(resumed, whole)
    assert position == expected


def test_a_finished_run_is_not_trained_again(tmp_path):
    checkpoint = tmp_path / "search.safetensors"
    once, position = _train(_config(), checkpoint)
    watcher = _Watcher()
    again, position_again = _train(_config(), checkpoint, watcher)
    assert watcher.steps == 0
    assert _same(once, again)
    assert position == position_again


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    checkpoint = tmp_path / "search.safetensors"
    _train(_config(), checkpoint)
    with pytest.raises(CheckpointError, match="belongs to another configuration or other data"):
        _train(_config(learning_rate=0.5), checkpoint)


def test_training_stops_when_the_criterion_no_longer_rises_and_keeps_the_best_epoch():
    config = _config(patience=2, epochs=9)
    watcher = _Watcher()
    weights, position = _train(config, watcher=watcher, scores=[1, 3, 2, 2.5, 9])
    assert watcher.epochs == [1, 3, 2, 2.5]
    assert position.best_epoch == 2
    refit, _ = _train(config, stop_after=2)
    assert _same(weights, refit), "a refit on the same rows repeats the epochs found"


def test_the_best_epoch_so_far_can_be_taken_without_training_further(tmp_path):
    checkpoint = tmp_path / "search.safetensors"
    with pytest.raises(KeyboardInterrupt):
        _train(_config(), checkpoint, _Watcher(10, partial(_raise, KeyboardInterrupt)))
    watcher = _Watcher()
    weights, position = _train(_config(), checkpoint, watcher, train_further=False)
    assert watcher.steps == 0
    assert position.best_epoch == 1
    first_epoch, _ = _train(_config(), stop_after=1)
    assert _same(weights, first_epoch)


def test_there_is_nothing_to_take_before_an_epoch_has_ended(tmp_path):
    checkpoint = tmp_path / "search.safetensors"
    with pytest.raises(KeyboardInterrupt):
        _train(_config(), checkpoint, _Watcher(3, partial(_raise, KeyboardInterrupt)))
    with pytest.raises(CheckpointError, match="holds no finished epoch yet"):
        _train(_config(), checkpoint, train_further=False)


def test_a_criterion_that_is_no_number_stops_the_run():
    with pytest.raises(FloatingPointError, match="epoch 1: the criterion is nan"):
        _train(_config(), scores=[math.nan])


def test_averaging_off_keeps_the_last_weights():
    config = _config(ema=0.0, epochs=1, patience=1)
    ranker = _ranker(config)
    seen = []

    def judge(average):
        seen.append({n: t.clone() for n, t in average.state_dict().items()})
        return 0.0, {"score": 0.0}

    fit(ranker, _data(), config, judge=judge, watcher=_Watcher())
    assert _same(seen[0], ranker.state_dict())


def test_base_rates_are_the_first_prediction_of_the_output_bias():
    config, data = _config(), _data()
    ranker = _ranker(config)
    rate = data.labels.mean().item()
    assert torch.sigmoid(ranker.towers.out.bias[0]).item() == pytest.approx(rate, abs=0.01)


def test_learning_beats_the_base_rate():
    config, data = _config(epochs=6), _data()
    ranker = _ranker(config)
    fit(ranker, data, config, judge=_judge([1, 2, 3, 4, 5, 6]), watcher=_Watcher())
    logits = predict(ranker, data)[:, 0]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, data.labels[:, 0])
    rate = data.labels.mean()
    assert loss < -(rate * rate.log() + (1 - rate) * (1 - rate).log()) - 0.01


def _raise(error):
    raise error
