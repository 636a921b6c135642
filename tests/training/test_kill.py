"""A run that was killed with SIGKILL and started again ends as if nothing had happened."""

import json
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.training import processes


def _reached(checkpoint: Path) -> tuple[int, int]:
    """Epoch and step of a checkpoint; (0, 0) before there is one."""
    if not checkpoint.exists():
        return 0, 0
    with safe_open(checkpoint, framework="pt") as file:
        position = json.loads(file.metadata()["position"])
    return position["epoch"], position["step"]


def _kill_at(arguments: list[str], checkpoint: Path, place: tuple[int, int]) -> None:
    with processes.start(arguments) as process:
        while _reached(checkpoint) < place:
            assert process.poll() is None, process.communicate()[0].decode()
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -9


@pytest.mark.timeout(240)
def test_a_run_killed_twice_ends_with_the_metrics_and_weights_of_an_undisturbed_one(
    tmp_path: Path, tiny_log: Path
) -> None:
    often = {"epochs": 6, "patience": 6, "minibatch": 32, "checkpoint_every": 5}
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    processes.finish(processes.command(tiny_log, undisturbed, **often))

    again = processes.command(tiny_log, killed, **often)
    checkpoint = killed / "runs" / "tiny" / "search.safetensors"
    _kill_at(again, checkpoint, (0, 10))
    _kill_at(again, checkpoint, (2, 5))
    assert _reached(checkpoint) < (6, 0)
    assert not (killed / "learned.json").exists()
    processes.finish(again)

    assert processes.learned(killed) == processes.learned(undisturbed)  # every digit, every weight
