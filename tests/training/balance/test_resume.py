"""Every balance trains, differs from fixed weights, and continues bit for bit."""

import pytest
import torch

from service.contract.features import Categorical, FeatureSchema, Numeric
from training.config.run import RunConfig
from training.dataset import Dataset
from training.loop import fit, start_at_base_rates
from training.rankers.build import build_ranker

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="user_id", side="user", hash_buckets=5),
        Numeric(name="price", side="item", default=0),
    )
)
BALANCES = {
    "decay": {"rates": {"ctr": 0.7}, "unit": "step"},
    "uncertainty": {},
    "gradnorm": {},
    "dwa": {},
    "pcgrad": {},
}


def _config(kind, trunk="ple"):
    shape = {"hidden": [8, 6]} | ({"levels": 2, "own": 1, "shared": 1} if trunk == "ple" else {})
    return RunConfig.model_validate(
        {
            "name": "tiny",
            "data": {
                "reader": "synthetic",
                "train": "20260101:20260101",
                "validate": "20260102:20260102",
            },
            "model": {"trunk": {"kind": trunk} | shape, "towers": [4]},
            "train": {
                "minibatch": 32,
                "epochs": 4,
                "patience": 9,
                "checkpoint_every": 2,
                "learning_rate": 0.01,
                "balance": {"kind": kind} | BALANCES.get(kind, {}),
            },
            "tasks": [
                {"name": "ctr", "label": "click"},
                {"name": "like", "label": "like"},
                {"name": "vcr", "label": "vcr", "kind": "regression"},
            ],
        }
    )


def _data(rows=200):
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 6, (rows, 1), generator=random, dtype=torch.int32)
    price = torch.randn(rows, 1, generator=random)
    labels = (torch.rand(rows, 3, generator=random) < torch.sigmoid(price)).float()
    labels[:, 1] = 1 - labels[:, 1]  # in conflict with the others
    spaces = torch.ones(rows, 3, dtype=torch.bool)
    return Dataset({"user_ids": ids, "item_values": price}, labels, spaces)


class _Killed(Exception):
    pass


class _Watcher:
    def __init__(self, die_at):
        self.left = die_at

    def step(self, epoch, step, steps, rows, losses):
        self.left -= 1
        if not self.left:
            raise _Killed

    def epoch(self, epoch, metrics):
        pass


def _train(config, checkpoint=None, die_at=10_000):
    torch.manual_seed(1)
    ranker, data = build_ranker(SCHEMA, config.model, config.tasks), _data()
    start_at_base_rates(ranker, config.tasks, data)

    def judge(_):
        return 0.0, {}

    fit(
        ranker,
        data,
        config,
        judge=judge,
        watcher=_Watcher(die_at),
        checkpoint=checkpoint,
        stop_after=config.train.epochs,
    )
    return ranker.state_dict()


@pytest.mark.parametrize("kind", BALANCES)
def test_a_run_that_was_stopped_ends_with_the_same_weights(kind, tmp_path):
    checkpoint = tmp_path / "search.safetensors"
    whole = _train(_config(kind))
    for die_at in (11, 6):  # in the middle of epochs 2 and 3, off the checkpoints
        with pytest.raises(_Killed):
            _train(_config(kind), checkpoint, die_at)
    resumed = _train(_config(kind), checkpoint)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    fixed = _train(_config("fixed"))
    assert any(not torch.equal(whole[name], fixed[name]) for name in whole)


@pytest.mark.parametrize("trunk", ["ple", "shared-bottom"])
def test_gradnorm_finds_a_shared_layer_of_real_trunks(trunk):
    weights = _train(_config("gradnorm", trunk))
    assert all(torch.isfinite(w).all() for w in weights.values())
