"""Real processes that train the tiny run: started here, killed or joined by torchrun in tests."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.training.tiny import on_parquet, quiet, tiny_config
from training.learn import Places, learn
from training.reading import reader_for
from training.team import joined

ROOT = Path(__file__).parents[2]


def command(
    log: Path, directory: Path, data: dict[str, object] | None = None, **train: object
) -> list[str]:
    """What learns the tiny run on a log and writes runs and learned.json to a directory.

    Args:
        data: keys of [data], of the run on Parquet files.
        train: keys of [train], and `dropout` of [model].
    """
    changes = json.dumps({"data": data, "train": train})
    return ["-m", "tests.training.processes", str(log), str(directory), changes]


def torchrun(processes: int) -> list[str]:
    run = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--standalone"]
    return [*run, "--nproc-per-node", str(processes)]


def start(arguments: list[str], launcher: list[str] | None = None) -> subprocess.Popen[bytes]:
    command = [*(launcher or [sys.executable]), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(arguments: list[str], launcher: list[str] | None = None) -> str:
    """Run to the end; what was printed."""
    with start(arguments, launcher) as process:
        said, _ = process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


def learned(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "learned.json").read_text())
    return found


def main(log: Path, directory: Path, changes: dict[str, Any]) -> None:
    train, data = changes["train"], changes["data"]
    dropout = train.pop("dropout", None)
    config = tiny_config(**train)
    if data is not None:
        config = on_parquet(config, **data)
    if dropout is not None:
        config = config.model_copy(
            update={"model": config.model.model_copy(update={"dropout": dropout})}
        )
    places = Places(data=log, models=directory / "models", runs=directory / "runs")
    with joined("cpu") as team:
        found = learn(config, reader_for(config), places, quiet(), team=team)
        if found is not None:
            digest = hashlib.sha256()
            for weight in found.ranker.state_dict().values():
                digest.update(weight.contiguous().numpy().tobytes())
            summary = {
                "metrics": found.metrics,
                "weights": digest.hexdigest(),
                "processes": team.size,
            }
            (directory / "learned.json").write_text(json.dumps(summary))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
