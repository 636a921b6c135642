"""The subcommands: registered without PyTorch, mistakes said in a sentence."""

import json
import subprocess
import sys

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from tests.training.tiny import LAST, tiny_config
from training.cli import register
from training.config.file import to_document


@pytest.fixture
def app():
    app = typer.Typer()
    features = typer.Typer()
    features.command("load")(lambda: None)
    app.add_typer(features, name="features")
    register(app)
    return app


@pytest.fixture
def file(tmp_path):
    """The tiny run as a TOML file: JSON values are TOML values, one key a line."""
    document = to_document(tiny_config())
    tasks = document.pop("tasks")
    lines = [f"slices = {json.dumps(document.pop('slices'))}"]
    lines += [f"{name} = {_toml(table)}" for name, table in document.items()]
    lines += [f"tasks = {_toml(tasks)}"]
    path = tmp_path / "tiny.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def test_registering_imports_nothing_heavy():
    code = (
        "import sys, typer; from training.cli import register; register(typer.Typer());"
        "print(sorted({'torch', 'onnx', 'polars', 'pyarrow', 'pydantic'} & sys.modules.keys()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_without_pytorch_a_command_says_what_to_install(file):
    code = (
        "import sys, typer; sys.modules['torch'] = None\n"
        "from training.cli import register; app = typer.Typer(); register(app); app()"
    )
    command = [sys.executable, "-c", code, "train", str(file)]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.returncode == 1
    assert "this command needs torch; install it with ./install cpu,train" in out.stderr
    assert "Traceback" not in out.stderr


def test_a_mistake_is_one_sentence_and_exit_code_1(app, file):
    result = CliRunner().invoke(app, ["train", str(file), "--set", "train.epoch=1"])
    assert result.exit_code == 1
    assert "error:" in result.output
    assert "unknown key 'epoch', did you mean 'epochs'?" in result.output


def test_features_build_joins_the_group_that_serving_made(app, file, tiny_log, tmp_path):
    users, items = tmp_path / "users.jsonl", tmp_path / "items.jsonl"
    command = ["features", "build", str(file), "--data", str(tiny_log), "--as-of", str(LAST)]
    result = CliRunner().invoke(app, [*command, "--users", str(users), "--items", str(items)])
    assert result.exit_code == 0, result.output
    assert json.loads(users.read_text().splitlines()[0])["id"]
    assert CliRunner().invoke(app, ["features", "load"]).exit_code == 0


def test_evaluate_writes_predictions_and_metrics(app, tiny, tiny_log, tmp_path):
    command = ["evaluate", "tiny@champion", "--data", str(tiny_log), "--models", str(tiny[0])]
    command += ["--days", f"{LAST}:{LAST}", "--json", str(tmp_path / "m.json")]
    result = CliRunner().invoke(app, [*command, "--predictions", str(tmp_path / "p.parquet")])
    assert result.exit_code == 0, result.output
    assert pl.read_parquet(tmp_path / "p.parquet").height == 250
    assert json.loads((tmp_path / "m.json").read_text())["rows"] == 250


def test_a_refused_days_argument_is_a_sentence(app, tiny, tiny_log):
    command = ["evaluate", "tiny", "--data", str(tiny_log), "--models", str(tiny[0])]
    result = CliRunner().invoke(app, [*command, "--days", "yesterday"])
    assert result.exit_code == 1
    assert "days 'yesterday' are not FIRST:LAST with days as YYYYMMDD" in result.output


def test_a_file_that_cannot_be_written_is_a_sentence(app, tiny, tiny_log, tmp_path):
    (tmp_path / "taken").write_text("no directory")
    command = ["evaluate", "tiny", "--data", str(tiny_log), "--models", str(tiny[0])]
    command += ["--days", f"{LAST}:{LAST}", "--json", str(tmp_path / "taken" / "m.json")]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "error: " in result.output
    assert str(tmp_path / "taken") in result.output


def test_the_models_directory_is_the_setting_that_serving_reads(app, tiny, tiny_log, monkeypatch):
    monkeypatch.setenv("FINERANK_MODELS", str(tiny[0]))
    command = ["evaluate", "tiny", "--data", str(tiny_log), "--days", f"{LAST}:{LAST}"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
