"""A real small run: its report, the report of an evaluation, their comparison."""

import importlib.util
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from service.contract.repository import Repository
from tests.training.report.test_page import check_html
from tests.training.tiny import LAST, quiet
from training.cli import register
from training.data.days import Days
from training.evaluate import evaluate
from training.report.build import recorded, report_of, write_report
from training.report.comparison import compare
from training.report.document import Report, ReportError
from training.report.tensorboard import tensorboard_watchers

HELD_OUT = Days(20260105, LAST)


@pytest.fixture(scope="module")
def trained(tiny):
    return Report.load(tiny[1].report)


@pytest.fixture(scope="module")
def evaluated(tiny, tiny_log, trained, tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    found = evaluate(Repository(tiny[0]), "tiny", tiny_log, HELD_OUT, quiet())
    report = report_of(found, HELD_OUT, history=trained.history, inside=trained.inside)
    write_report(report, directory)
    return directory


def test_a_run_leaves_a_report_beside_its_name_and_version(tiny, trained):
    assert tiny[1].report.parts[-3:] == ("tiny", "1", "report")
    assert trained.model == "tiny/1"
    assert tiny[1].metrics.items() <= trained.metrics.items()
    assert list(trained.history.losses) == ["ctr", "ctcvr", "vcr", "stays"]
    assert trained.history.metrics["ctr.auc[impression]"].epochs == (1, 2)
    assert trained.history.best_epoch in (1, 2)
    best = trained.history.metrics["ctr.auc[impression]"].values[trained.history.best_epoch - 1]
    assert best == tiny[1].metrics["ctr.auc[impression]"]
    assert list(trained.inside.utilisation) == ["level 1", "level 2"]
    assert {c.part for c in trained.inside.conflicts} >= {"embedding", "trunk"}


def test_the_page_is_whole_by_itself_and_holds_every_section(tiny):
    page = (tiny[1].report / "index.html").read_text()
    check_html(page)
    for heading in (
        "Quality by sample space",
        "Quality inside slices",
        "ROC",
        "Calibration",
        "Training",
        "Expert utilisation",
        "Gradient conflict",
    ):
        assert f"<h2>{heading}</h2>" in page, heading
    assert "cvr [impression]" in page, "cvr on all impressions, too, and named so"
    assert "videolen_s" in page
    text = (tiny[1].report / "report.md").read_text()
    for line in text.splitlines():
        if line.startswith("!["):
            image = line.rpartition("(")[2].rstrip(")")
            assert (tiny[1].report / image).is_file()


def test_an_evaluation_of_the_same_rows_reports_the_same_figures(evaluated, trained):
    report = Report.load(evaluated)
    assert report.days == trained.days == "20260105:20260106"
    assert report.metrics.keys() == trained.metrics.keys()
    for name, value in trained.metrics.items():
        assert report.metrics[name] == pytest.approx(value, abs=1e-3), name
    for head, curves in report.heads.items():
        assert curves.space == trained.heads[head].space
        rows = np.array(curves.reliability.rows)
        assert rows.sum() == curves.rows
        label_sum = (rows * curves.reliability.observed).sum()
        predicted = (rows * curves.reliability.predicted).sum()
        ratio = report.metrics[f"{head}.ratio[{curves.space}]"]
        assert predicted / label_sum == pytest.approx(ratio, abs=1e-3)
    assert report.heads["vcr"].roc is None


def test_days_the_model_learned_from_are_said_in_the_report(tiny, tiny_log):
    days = Days(20260103, LAST)
    found = evaluate(Repository(tiny[0]), "tiny", tiny_log, days, quiet())
    report = report_of(found, days)
    assert "these figures flatter it" in report.notes[0]


def test_what_was_recorded_of_a_run_is_found_by_model(tiny):
    runs = tiny[1].report.parent.parent.parent
    assert recorded(runs, "tiny/1") == Report.load(tiny[1].report)
    assert recorded(runs, "tiny/2") is None


def test_a_comparison_names_both_runs_and_their_differences(tiny, evaluated, tmp_path):
    report = Report.load(evaluated)
    metrics = report.metrics | {"ctr.auc[impression]": report.metrics["ctr.auc[impression]"] + 0.01}
    report.model_copy(update={"model": "tiny/2", "metrics": metrics}).save(tmp_path)
    page = compare([tiny[1].report.parent, tmp_path])
    check_html(page.html())
    text = page.markdown()
    assert text.startswith("# Comparison of tiny/1, tiny/2\n")
    row = next(line for line in text.splitlines() if line.startswith("| ctr auc [impression] |"))
    assert row.endswith("(+0.0100) |")
    assert "measured on different rows" not in text


def test_runs_on_different_rows_are_said_to_be_so(tiny, evaluated, tmp_path):
    report = Report.load(evaluated)
    report.model_copy(update={"model": "other/1", "rows": 3}).save(tmp_path)
    assert (
        "measured on different rows: tiny/1: 500 rows"
        in compare([tiny[1].report, tmp_path]).markdown()
    )


def test_what_is_no_report_is_refused_in_a_sentence(tiny, tmp_path):
    with pytest.raises(ReportError, match=r"holds no report\.json: give a directory that finerank"):
        compare([tiny[1].report, tmp_path])
    with pytest.raises(ReportError, match="two reports or more"):
        compare([tiny[1].report])
    with pytest.raises(ReportError, match="the same report twice"):
        compare([tiny[1].report, tiny[1].report])
    (tmp_path / "report.json").write_text(json.dumps({"model": "x"}))
    with pytest.raises(ReportError, match="no report of this version"):
        compare([tiny[1].report, tmp_path])


def test_the_commands_write_their_pages(tiny, tiny_log, tmp_path):
    import typer

    app = typer.Typer()
    register(app)
    out, runs = tmp_path / "out", tiny[1].report.parent.parent.parent
    arguments = ["evaluate", "tiny", "--data", tiny_log, "--days", f"{LAST}:{LAST}"]
    arguments += ["--models", tiny[0], "--report", out, "--runs", runs]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert Report.load(out).history.losses, "training's curves are taken from the run"
    arguments = ["compare", tiny[1].report.parent, out, "--out", tmp_path / "both"]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    check_html((tmp_path / "both" / "index.html").read_text())
    result = CliRunner().invoke(app, ["compare", str(out), str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "holds no report.json" in result.output


def test_tensorboard_is_written_where_it_is_installed_and_silently_not_elsewhere(tmp_path):
    found = tensorboard_watchers(tmp_path)
    installed = importlib.util.find_spec("tensorboard") is not None
    assert len(found) == installed
    for watcher in found:
        watcher.step(1, 1, 2, 10, {"ctr": 0.5})
        watcher.epoch(1, {"ctr.auc[impression]": 0.7})
        watcher.close()
    assert any(tmp_path.glob("events.out.*")) == installed
