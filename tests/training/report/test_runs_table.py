"""Runs as tables: a head on its own sample space, slices apart, one row a run."""

import json
import subprocess
import sys

from training.report.runs_table import main, report

RUN = {
    "model": "a",
    "version": 3,
    "trunk": "ple",
    "seed": 1,
    "epochs": 4,
    "rows": 154071,
    "parameters": 12345,
    "train_s": 61.2,
    "total_s": 80.0,
    "threads": 2,
    "machine": "x86_64, Linux",
    "python": "3.11.7",
    "torch": "2.13.0",
    "commit": "0123456789abcdef",
    "metrics": {
        "cvr.auc[click]": 0.7,
        "cvr.ratio[click]": 1.01,
        "cvr.auc[impression]": 0.6,
        "cvr.auc[click, tab=1]": 0.65,
        "vcr.mse[play]": 0.1018,
    },
}


def test_a_head_is_shown_on_its_own_space_and_its_slices_apart():
    text = report([RUN], title="Runs", command="x")
    assert "| model | cvr auc [click] | vcr mse [play] |" in text
    assert "| a/3 | 0.7000 | 0.1018 |" in text
    assert "| model | cvr auc [click, tab=1] |" in text
    assert "impression" not in text


def test_a_run_without_a_metric_has_an_empty_cell():
    other = RUN | {"model": "b", "metrics": {"vcr.mse[play]": 0.2}}
    assert "| b/3 |  | 0.2000 |" in report([RUN, other], title="Runs", command="x")


def test_the_command_that_wrote_the_file_stands_in_it(tmp_path):
    source, target = tmp_path / "log.jsonl", tmp_path / "log.md"
    source.write_text(json.dumps(RUN) + "\n\n")
    main(source, target)
    assert f"`python -m training.report {source} {target}`" in target.read_text()
    assert "| a/3 | ple | 1 | 4 | 154,071 | 12,345 | 61 | 80 | 2 |" in target.read_text()


def test_the_module_is_the_command_that_stands_in_the_file(tmp_path):
    source, target = tmp_path / "log.jsonl", tmp_path / "log.md"
    source.write_text(json.dumps(RUN) + "\n")
    subprocess.run([sys.executable, "-m", "training.report", source, target], check=True)
    assert target.read_text().startswith("# Runs on log\n")
