"""The command refuses what it does not know and leaves out, by name, what is not installed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest import contenders
from loadtest.bench import app
from loadtest.contenders import CONTENDERS, Place
from loadtest.machine import ROOT


def test_an_unknown_contender_is_refused_with_those_there_are() -> None:
    done = CliRunner().invoke(app, ["compare", "--contenders", "nginx"])
    assert done.exit_code == 2
    assert "'nginx' is none of finerank, finerank-int8, plain-fastapi" in " ".join(
        done.output.split()
    )


def test_a_peer_that_is_not_installed_is_left_out_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contenders, "PEER_ENVIRONMENTS", tmp_path)
    done = CliRunner().invoke(app, ["compare", "--contenders", "litserve"])
    assert done.exit_code == 2
    assert "left out: litserve (loadtest/peers/install litserve)" in done.output


@pytest.mark.parametrize("name", [n for n, c in CONTENDERS.items() if c.peer is not None])
def test_every_peer_has_a_server_and_its_requirements(name: str) -> None:
    contender = CONTENDERS[name]
    peers = ROOT / "loadtest" / "peers"
    assert (peers / f"{contender.peer}.py").is_file()
    assert (peers / f"requirements-{contender.environment}.txt").is_file()


def test_peers_get_the_package_and_a_process_a_core(tmp_path: Path) -> None:
    command = CONTENDERS["plain-fastapi-1p"].command(Place(tmp_path), 8001)
    assert command[1:3] == ["-m", "loadtest.peers.plain_fastapi"]
    assert command[command.index("--package") + 1] == str(tmp_path / "models" / "bench" / "1")
    assert command[command.index("--workers") + 1] == "1"
