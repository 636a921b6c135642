"""The command `finerank` as a process of its own."""

import subprocess
import sys
from importlib.metadata import EntryPoint, version

import pytest
from typer.testing import CliRunner

from service import cli


def finerank(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


def test_help_lists_the_commands_of_every_room():
    done = finerank("--help")
    assert done.returncode == 0
    for command in ("serve", "demo", "doctor", "plan", "features", "models"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "command", ["serve", "demo", "doctor", "plan", "features", "models", "plan set", "models check"]
)
def test_every_command_explains_itself(command):
    answer = CliRunner().invoke(cli.build_cli(), [*command.split(), "--help"])
    assert answer.exit_code == 0
    assert len(answer.output.splitlines()) > 5


def test_an_unknown_command_is_refused():
    done = finerank("rnak")
    assert done.returncode == 2
    assert "No such command 'rnak'" in done.stderr


def test_a_plugin_that_cannot_be_loaded_is_told_and_stops_nothing(monkeypatch, capsys):
    broken = EntryPoint("broken", "no_such_module:register", cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [broken])
    app = cli.build_cli()
    cli.add_plugins(app)
    assert "the commands of no_such_module:register cannot be loaded" in capsys.readouterr().err
    assert CliRunner().invoke(app, ["models", "list"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["models", "list"], False),
        (["plan", "set", "feed", "b=1"], False),
        (["serve", "--help"], False),
        (["doctor"], False),
        ([], True),
        (["--help"], True),
        (["features", "build"], True),
        (["train", "--help"], True),
    ],
)
def test_serving_commands_load_no_plugin(arguments, needed):
    assert cli.needs_plugins(cli.build_cli(), arguments) is needed


def test_the_version_is_that_of_the_installed_package():
    answer = CliRunner().invoke(cli.build_cli(), ["--version"])
    assert (answer.exit_code, answer.output) == (0, f"finerank {version('finerank')}\n")
