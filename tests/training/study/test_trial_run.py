"""A study from its file to its page, on a generated log: resumes, and measures what it says."""

import json

import pytest
from typer.testing import CliRunner

from training.study.__main__ import app
from training.study.plan import load_study, trials

RUN = """
[data]
reader = "synthetic"
train = "20260101:20260102"
validate = "20260103"
[synthetic]
users = 20
items = 30
days = 4
impressions_per_day = 300
[model]
trunk = { kind = "shared-bottom", hidden = [4] }
towers = []
[train]
epochs = 1
minibatch = 128
[[tasks]]
name = "ctr"
label = "click"
[[tasks]]
name = "cvr"
label = "buy"
space = "click"
loss = "none"
[[tasks]]
name = "ctcvr"
label = "buy"
product = ["ctr", "cvr"]
"""
STUDY = """
title = "Tiny"
base = "run.toml"
seeds = [1, 2]
measure = "20260104"
metrics = ["ctr.auc[impression]"]
reference = "base"
[[runs]]
name = "base"
[[runs]]
name = "mmoe"
set = ['model.trunk={kind="mmoe", experts=2, hidden=[4]}']
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "run.toml").write_text(RUN)
    (tmp_path / "tiny.toml").write_text(STUDY)
    return tmp_path


def _study(place, *more):
    arguments = [str(place / "tiny.toml"), "--data", str(place), "--results", str(place / "out")]
    result = CliRunner().invoke(app, [*arguments, "--runs", str(place / "runs"), *more])
    lines = place / "out" / "tiny.jsonl"
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    return result, records


def test_every_run_is_a_line_and_what_is_there_is_not_run_again(place):
    result, records = _study(place, "--only", "base", "--threads", "1")
    assert result.exit_code == 0, result.output
    assert [(r["run"], r["seed"]) for r in records] == [("base", 1), ("base", 2)]
    result, again = _study(place, "--threads", "1")
    assert "2 runs are there, 2 to go" in result.output
    assert again[:2] == records
    assert [(r["run"], r["seed"]) for r in again[2:]] == [("mmoe", 1), ("mmoe", 2)]
    assert {r["rows"] for r in again} == {300}, "the day that `measure` says"
    assert again[0]["metrics"] != again[0]["validation"]
    assert not list((place / "runs" / "tiny").iterdir()), "no checkpoint is left"
    text = (place / "out" / "tiny.md").read_text()
    assert "## Difference to base" in text


def test_a_changed_file_is_run_again_and_its_line_counts(place):
    _study(place, "--only", "base")
    result, records = _study(place, "--only", "base", "--set", "model.embedding=2")
    assert result.exit_code == 0, result.output
    assert len(records) == 4
    assert records[2]["parameters"] < records[0]["parameters"]


def test_a_checkpoint_of_an_older_program_is_begun_anew(place):
    study = load_study(place / "tiny.toml")
    (trial, *_) = trials(study, place)
    stale = place / "runs" / "tiny" / trial.digest / "run" / "search.safetensors"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"cut short")
    result, records = _study(place, "--only", "base")
    assert result.exit_code == 0, result.output
    assert len(records) == 2


def test_without_data_nothing_is_trained_and_the_command_says_so(place):
    result = CliRunner().invoke(app, [str(place / "tiny.toml"), "--results", str(place)])
    assert result.exit_code == 1
    assert "give --data DIR, or --table" in result.output


def test_a_peer_stands_in_the_same_table(place):
    pytest.importorskip("lightgbm", reason="needs the extra `peers`")
    run = '[[runs]]\nname = "trees"\npeer = "lightgbm"\noptions = {rounds = 3}\nseeds = [1]\n'
    (place / "tiny.toml").write_text(STUDY + run)
    (place / "run.toml").write_text(RUN.split('[[tasks]]\nname = "cvr"')[0])
    result, records = _study(place, "--only", "trees")
    assert result.exit_code == 0, result.output
    assert records[0]["trunk"] == "lightgbm"
    assert 0.4 < records[0]["metrics"]["ctr.auc[impression]"] <= 1
