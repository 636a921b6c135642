"""Training speed beside torch-rechub: rows/s of one PLE, same rows, widths and minibatch.

    python -m training.peers.speed --data DIR [--rounds 5] [--out docs/results]

DIR holds census-income and KuaiRand-Pure. Rounds alternate between the contenders, so that what
else the machine does hits all of them; figures are medians over rounds. torch-rechub is timed
twice: with its own loader, which collates single rows, and with minibatches cut from whole arrays,
which is kinder than what its users have. Processes of the curve have one thread each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch_rechub.models.multi_task import PLE
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator

from training.config.file import load_config
from training.config.trunks import PLETrunk
from training.dataset import build_dataset
from training.loop import fit, start_at_base_rates
from training.peers.columns import columns, fit_standard
from training.peers.peer import Rows
from training.peers.torch_rechub import features_of, minibatches, silence
from training.publish import git_commit
from training.rankers.build import build_ranker
from training.reading import reader_for
from training.team import ALONE, Team, joined

CONFIGS = Path(__file__).parents[1] / "configs"
SCENES = {"census": ("census-ple", "census-income"), "kuairand": ("kuairand-ple", "KuaiRand-Pure")}
PROCESSES = (1, 2)
OURS, KIND, OWN = "finerank", "torch-rechub, whole-array minibatches", "torch-rechub, its loader"


class Silent:
    """A `Watcher` that says nothing."""

    def step(self, *_: object) -> None: ...

    def epoch(self, *_: object) -> None: ...


def rows_of(name: str, data: Path, count: int) -> Rows:
    """The first `count` training rows of a shipped configuration, without what torch-rechub lacks:
    auxiliary tasks and the linear term.
    """
    config_name, directory = SCENES[name]
    config = load_config(CONFIGS / f"{config_name}.toml")
    plain = config.model.model_copy(update={"linear": False})
    once = config.train.model_copy(update={"epochs": 1, "device": "cpu", "criterion": ()})
    config = config.model_copy(update={"model": plain, "train": once, "tasks": config.heads})
    reader = reader_for(config)
    log = reader.read(data / directory).of(config.data.train_days)
    schema = reader.features(log)
    train = build_dataset(schema, config.tasks, log).take(torch.arange(min(count, log.rows)))
    return Rows(config, schema, train, train, train)


def our_epoch(rows: Rows, team: Team = ALONE) -> Callable[[], None]:
    config, data = rows.config, rows.train

    def epoch() -> None:
        fit(ranker, data, config, judge=lambda _: (0.0, {}), watcher=Silent(), team=team)

    torch.manual_seed(1)
    ranker = build_ranker(rows.schema, config.model, config.tasks)
    ranker.embedding.fit({name: block.numpy() for name, block in data.inputs.items()})
    start_at_base_rates(ranker, config.tasks, data)
    return epoch


def their_epoch(rows: Rows, *, own_loader: bool) -> Callable[[], None]:
    model = rows.config.model
    assert isinstance(model.trunk, PLETrunk)
    torch.manual_seed(1)
    taken = columns(rows.schema, rows.train)
    standard = fit_standard(rows.schema, taken.values, model.log1p, model.clip)
    kinds = ["classification" if t.kind == "binary" else "regression" for _, t in rows.tasks]
    layers = {"activation": "relu", "dropout": model.dropout}
    network = PLE(
        features_of(rows.schema, taken.values.shape[1], model.embedding),
        kinds,
        model.trunk.levels,
        model.trunk.own,
        model.trunk.shared,
        {"dims": list(model.trunk.hidden), **layers},
        [{"dims": list(model.towers), **layers} for _ in kinds],
    )
    train = rows.config.train
    settings = {"lr": train.learning_rate, "weight_decay": train.weight_decay}
    trainer = MTLTrainer(network, kinds, optimizer_params=settings, n_epoch=1)
    loader: Any = minibatches(rows, rows.train, taken, standard, train.minibatch, 1)
    if own_loader:
        inputs = {name: block.numpy() for name, block in loader.inputs.items()}
        labels = loader.labels.numpy()
        loader, _, _ = DataGenerator(inputs, labels).generate_dataloader(
            x_val=inputs, y_val=labels, x_test=inputs, y_test=labels, batch_size=train.minibatch
        )

    def epoch() -> None:
        with silence():
            trainer.train_one_epoch(loader)

    return epoch


def rate(rows: Rows, epoch: Callable[[], None]) -> float:
    """Rows a second of one epoch."""
    started = time.perf_counter()
    epoch()
    return len(rows.train) / (time.perf_counter() - started)


def side_by_side(rows: Rows, rounds: int) -> dict[str, list[float]]:
    """Rows/s of every contender by round, one thread each; a first round warms up."""
    epochs = {
        OURS: our_epoch(rows),
        KIND: their_epoch(rows, own_loader=False),
        OWN: their_epoch(rows, own_loader=True),
    }
    found: dict[str, list[float]] = {name: [] for name in epochs}
    for number in range(rounds + 1):
        for name, epoch in epochs.items():
            measured = rate(rows, epoch)
            if number:
                found[name].append(measured)
        said = ", ".join(f"{name} {rates[-1]:,.0f}" for name, rates in found.items() if rates)
        _tell(f"round {number}/{rounds}, rows/s: {said or 'warming up'}")
    return found


def curve(name: str, data: Path, count: int, rounds: int) -> dict[int, list[float]]:
    """Our rows/s by number of processes, one thread each, by round."""
    found: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
    for _ in range(rounds):
        for processes in PROCESSES:
            found[processes].append(_launched(processes, name, data, count))
            _tell(f"{processes} of {PROCESSES[-1]} processes: {found[processes][-1]:,.0f} rows/s")
    return found


def _launched(processes: int, name: str, data: Path, count: int) -> float:
    launcher = ["-m", "torch.distributed.run", "--nnodes", "1", "--standalone"]
    with tempfile.TemporaryDirectory() as directory:
        said = Path(directory) / "rate"
        arguments = ["--worker", str(said), "--scene", name, "--data", str(data)]
        here = ["-m", "training.peers.speed", *arguments, "--rows", str(count)]
        subprocess.run(
            [sys.executable, *launcher, "--nproc-per-node", str(processes), *here],
            check=True,
            capture_output=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        return float(said.read_text())


def work(said: Path, name: str, data: Path, count: int) -> None:
    """One process of the curve: an epoch to warm up, an epoch that counts."""
    with joined("cpu") as team:
        torch.set_num_threads(1)
        rows = rows_of(name, data, count)
        epoch = our_epoch(rows, team)
        rate(rows, epoch)
        measured = rate(rows, epoch)
        if team.leads:
            said.write_text(str(measured))


def report(results: dict[str, Any]) -> str:
    """The Markdown page of the results."""
    lines = [
        "# Training speed",
        "",
        "Rows a second of one PLE: same rows, layer widths, dropout and minibatch, Adam. One",
        f"thread a process, medians of {results['rounds']} alternating rounds (lowest … highest).",
        "Made by `python -m training.peers.speed`; `training-speed.json` has every round.",
        "",
        f"{results['cpu']}, {results['cores']} cores, load {results['load']:.1f} at the start;"
        f" torch {torch.__version__}, torch-rechub {version('torch-rechub')},"
        f" commit {results['commit']}.",
        "",
        "| scene | contender | rows/s | finerank is faster by |",
        "| --- | --- | --- | --- |",
    ]
    for name, scene in results["scenes"].items():
        ours = scene["contenders"][OURS]
        for contender, rates in scene["contenders"].items():
            ratios = [a / b for a, b in zip(ours, rates, strict=True)]
            faster = "" if contender == OURS else f"{statistics.median(ratios):.2f} ×"
            lines.append(f"| {name} | {contender} | {_spread(rates)} | {faster} |")
    lines += ["", "| scene | processes | rows/s | times one process |", "| --- | --- | --- | --- |"]
    for name, scene in results["scenes"].items():
        alone = scene["processes"][str(PROCESSES[0])]
        for processes, rates in scene["processes"].items():
            times = statistics.median(a / b for a, b in zip(rates, alone, strict=True))
            lines.append(f"| {name} | {processes} | {_spread(rates)} | {times:.2f} |")
    return "\n".join(lines) + "\n"


def _tell(sentence: str) -> None:
    """Where a person looks during the minutes this takes."""
    sys.stderr.write(f"{sentence}\n")


def _spread(rates: list[float]) -> str:
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f} … {max(rates):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--scene", choices=list(SCENES), action="append")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    scenes = given.scene or list(SCENES)
    if given.worker is not None:
        work(given.worker, scenes[0], given.data, given.rows)
        return
    torch.set_num_threads(1)
    results: dict[str, Any] = {
        "rounds": given.rounds,
        "rows": given.rows,
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "load": os.getloadavg()[0],
        "commit": git_commit(),
        "scenes": {},
    }
    for name in scenes:
        rows = rows_of(name, given.data, given.rows)
        contenders = side_by_side(rows, given.rounds)
        processes = curve(name, given.data, given.rows, given.rounds)
        results["scenes"][name] = {
            "minibatch": rows.config.train.minibatch,
            "contenders": contenders,
            "processes": {str(count): rates for count, rates in processes.items()},
        }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "training-speed.json").write_text(json.dumps(results, indent=1) + "\n")
    (given.out / "training-speed.md").write_text(report(results))
    sys.stdout.write(report(results))


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "?")


if __name__ == "__main__":
    main()
