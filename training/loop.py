"""The training loop: minibatches, averaged weights, early stop, checkpoints."""

import copy
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from training.balance.balance import Balance
from training.balance.build import build_balance
from training.checkpoint import CheckpointError, Position, Running, load, save
from training.config.run import RunConfig
from training.config.task import Task
from training.config.train import Train
from training.dataset import Dataset
from training.objective import Objective
from training.portions import Portion, TrainingRows
from training.rankers.columns import imputation
from training.rankers.ranker import Ranker
from training.team import ALONE, Team

PREDICTION_ROWS = 8192

# What an epoch is worth: the criterion (larger is better), and the metrics.
Judge = Callable[[Ranker], tuple[float, dict[str, float]]]


class Watcher(Protocol):
    """Who is told how training goes."""

    def step(
        self, epoch: int, step: int, steps: int, rows: int, losses: Mapping[str, float]
    ) -> None:
        """Minibatch `step` of `steps` in this epoch (both from 1) is done; it had `rows` rows."""
        ...

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done."""
        ...


def fit(
    ranker: Ranker,
    data: TrainingRows,
    config: RunConfig,
    *,
    judge: Judge,
    watcher: Watcher,
    checkpoint: Path | None = None,
    stop_after: int | None = None,
    train_further: bool = True,
    team: Team = ALONE,
) -> Position:
    """Train in place; on return the ranker holds the averaged weights of the best epoch.

    The same configuration, data, thread count and machine give the same weights bit for bit,
    however often the run was killed and continued in between.

    Args:
        judge: called with the averaged ranker after every epoch.
        checkpoint: continued from when it is there and fits; written every `checkpoint_every`
            steps.
        stop_after: train exactly that many epochs of the same schedule and keep the last (a refit).
        train_further: False takes the best epoch of the checkpoint as it is.
        team: the processes that train together; all of them call this, with the same arguments.

    Raises:
        CheckpointError: of another run or unreadable; or there is no finished epoch to take.
        FloatingPointError: the criterion is no longer a number.
    """
    train = config.train
    team.seed(train.seed)
    ranker.to(team.device)
    objective = Objective(config.tasks, ranker.logit_names, ranker.readouts, train.calibrator)
    balance = build_balance(train.balance, objective, config.tasks, ranker, team)
    running = Running(
        weights=ranker,
        average=copy.deepcopy(ranker).eval().requires_grad_(False),
        best={},
        optimizer=_optimizer(ranker, balance, train),
        position=Position(),
        balance=balance,
    )
    run = _fingerprint(config, data, stop_after)
    if checkpoint is not None and checkpoint.exists():
        states = load(checkpoint, running, run=run)
        if team.rank < len(states):
            team.restore_random_state(states[team.rank])
    team.wait()  # nobody writes a checkpoint that another still reads
    if not train_further:
        if not running.best:
            raise CheckpointError(f"{checkpoint} holds no finished epoch yet: nothing to publish")
        running.position.finished = True
    steps = math.ceil(len(data) / train.minibatch)
    at = running.position
    data = data.near(team.device)
    while not at.finished:
        ranker.train()
        portions = data.portions(
            train.minibatch, team, seed=train.seed, epoch=at.epoch, start=at.step
        )
        for portion in portions:
            _set_learning_rate(
                running.optimizer, train, (at.epoch + at.step / steps) / train.epochs
            )
            losses = _step(running, objective, portion, team, bf16=train.bf16)
            at.step += 1
            _average(running, train.ema, at.epoch * steps + at.step)
            watcher.step(at.epoch + 1, at.step, steps, sum(portion.counts), losses)
            # Not after an epoch's last step: its end is saved with what the epoch is worth.
            if checkpoint and at.step % train.checkpoint_every == 0 and at.step < steps:
                _save(checkpoint, running, run, team)
        at.epoch, at.step = at.epoch + 1, 0
        score, metrics = team.agreed(judge(running.average) if team.leads else None)
        watcher.epoch(at.epoch, metrics)
        at.history.append(metrics)
        if stop_after is not None or score > at.best_score:
            at.best_epoch, at.best_score = at.epoch, score
            running.best = {n: t.clone() for n, t in running.average.state_dict().items()}
        if not math.isfinite(score):
            raise FloatingPointError(
                f"epoch {at.epoch}: the criterion is {score}; a lower learning rate may help"
            )
        at.finished = at.epoch == (stop_after or train.epochs) or (
            stop_after is None and at.epoch - at.best_epoch >= train.patience
        )
        if checkpoint is not None:
            _save(checkpoint, running, run, team)
    ranker.load_state_dict(running.best)
    ranker.cpu()
    ranker.eval()
    return at


def start_at_base_rates(ranker: Ranker, tasks: tuple[Task, ...], data: Dataset) -> None:
    """Fit the readouts to the training rows, and start every tower at its label's mean over its
    sample space.
    """
    start = ranker.readouts.fit(tasks, data.inputs, data.labels, data.spaces)
    for at, task in enumerate(tasks):
        if task.imputed:
            inside = data.labels[data.spaces[:, at], at].double()
            error = ranker.readouts[task.name].loss(start[task.name].expand(len(inside)), inside)
            start[imputation(task.name)] = torch.log(torch.expm1(error.mean().clamp(min=1e-3)))
    ranker.set_output_bias(start)


def predict(ranker: Ranker, data: Dataset) -> Tensor:
    """Logits of all rows (N, T + A), without dropout."""
    ranker.eval()
    device = next(ranker.parameters()).device
    with torch.inference_mode():
        return torch.cat(
            [
                ranker({name: block.to(device) for name, block in inputs.items()}).cpu()
                for inputs in data.in_order(PREDICTION_ROWS)
            ]
        )


def _step(
    running: Running, objective: Objective, portion: Portion, team: Team, *, bf16: bool
) -> dict[str, float]:
    mine = portion.mine.to(team.device)
    with torch.autocast(team.device.type, torch.bfloat16, enabled=bf16):
        logits = running.weights(mine.inputs)
    logits = logits.float() if bf16 else logits
    read = {name: mine.inputs[name] for name in objective.reads}
    logits, labels, spaces, *blocks = team.whole(
        [logits, mine.labels, mine.spaces, *read.values()], portion.counts
    )
    losses = objective.losses(logits, labels, spaces, dict(zip(read, blocks, strict=True)))
    running.optimizer.zero_grad(set_to_none=True)
    running.balance.backward(losses, running.position.epoch)
    team.sum_gradients(running.weights.parameters())
    running.optimizer.step()
    return {name: loss.item() for name, loss in losses.items()}


def _save(path: Path, running: Running, run: str, team: Team) -> None:
    random = team.random_states()  # of all: every process must get here
    if team.leads:
        save(path, running, run=run, random=random)


def _average(running: Running, decay: float, step: int) -> None:
    # The first weights are noise: the average starts short and grows to its full length.
    decay = min(decay, step / (step + 9))
    with torch.no_grad():
        torch._foreach_lerp_(
            list(running.average.parameters()), list(running.weights.parameters()), 1 - decay
        )


def _optimizer(ranker: nn.Module, balance: Balance, train: Train) -> torch.optim.Optimizer:
    # L2 in the gradient, not decoupled: Adam rescales it, so a rare id's row decays at the full
    # learning rate between its appearances (measured, docs/decisions.md).
    groups = [{"params": list(ranker.parameters()), "weight_decay": train.weight_decay}]
    if balance.parameters:
        groups.append({"params": list(balance.parameters), "weight_decay": 0.0})
    return torch.optim.Adam(groups, lr=train.learning_rate, fused=True)


def _set_learning_rate(optimizer: torch.optim.Optimizer, train: Train, progress: float) -> None:
    """Half a cosine from the full rate at progress 0 to nothing at 1."""
    for group in optimizer.param_groups:
        group["lr"] = train.learning_rate * (1 + math.cos(math.pi * progress)) / 2


def _fingerprint(config: RunConfig, data: TrainingRows, stop_after: int | None) -> str:
    text = json.dumps([config.model_dump_json(), stop_after, data.digest])
    return hashlib.sha256(text.encode()).hexdigest()
