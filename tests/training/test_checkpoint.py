"""Checkpoints: everything back bit for bit, atomically, and never for another run."""

import pytest
import torch
from torch import nn

from training.checkpoint import CheckpointError, Position, Running, load, save


class _Weights:
    def __init__(self, weights):
        self.weights = weights

    def state(self):
        return {"weights": self.weights}

    def restore(self, state):
        self.weights = state["weights"]


def _running(seed):
    torch.manual_seed(seed)
    weights = nn.Linear(3, 2)
    running = Running(
        weights=weights,
        average=nn.Linear(3, 2),
        best={"weight": torch.randn(2, 3)},
        optimizer=torch.optim.AdamW(weights.parameters(), fused=True),
        position=Position(epoch=seed, step=7, history=[{"ctr.auc[impression]": 0.1 + 0.2}]),
        balance=_Weights(torch.randn(3)),
    )
    weights(torch.randn(4, 3)).sum().backward()
    running.optimizer.step()
    return running


def test_everything_comes_back_bit_for_bit(tmp_path):
    written, read = _running(1), _running(2)
    random = [torch.get_rng_state(), torch.arange(9, dtype=torch.uint8)]
    save(tmp_path / "runs" / "c.safetensors", written, run="r", random=random)
    states = load(tmp_path / "runs" / "c.safetensors", read, run="r")
    assert len(states) == 2
    assert all(map(torch.equal, states, random))
    assert read.position == written.position
    assert torch.equal(read.best["weight"], written.best["weight"])
    assert torch.equal(read.balance.weights, written.balance.weights)
    for one, other in ((read.weights, written.weights), (read.average, written.average)):
        assert all(map(torch.equal, one.parameters(), other.parameters()))
    states = (read.optimizer.state_dict()["state"], written.optimizer.state_dict()["state"])
    for at in (0, 1):
        for key in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(states[0][at][key], states[1][at][key])


def test_another_runs_checkpoint_is_refused_before_anything_changes(tmp_path):
    path = tmp_path / "c.safetensors"
    save(path, _running(1), run="r")
    running = _running(2)
    before = running.weights.weight.clone()
    with pytest.raises(CheckpointError, match="belongs to another configuration or other data"):
        load(path, running, run="s")
    assert torch.equal(running.weights.weight, before)


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"c\.safetensors cannot be read"):
        load(path, _running(1), run="r")


def test_saving_leaves_one_file(tmp_path):
    for _ in range(2):
        save(tmp_path / "c.safetensors", _running(1), run="r")
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
