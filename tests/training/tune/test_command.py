"""`finerank tune` on a real package's predictions: draft, page and mistakes."""

import json

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from service.contract.repository import Repository
from service.experiment.findings import errors
from service.experiment.packages import PackageReader, ResolvedModels
from service.experiment.plan import parse_plan
from service.experiment.snapshot import check_plan
from tests.training.report.test_page import check_html
from tests.training.tiny import FIRST, LAST
from tests.training.tune.worlds import generated, plan_file
from training.cli import register

TINY = {"a": {"value": 1.0, "min": 0, "max": 2}, "w": {"value": 0.1, "min": 0, "max": 1}}


@pytest.fixture
def finerank():
    app = typer.Typer()
    register(app)

    def run(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})

    return run


def test_a_draft_from_a_models_predictions_is_a_plan_that_can_be_published(
    finerank, tiny, tiny_log, tmp_path
):
    models = tiny[0]
    plan = plan_file(tmp_path, "ctr^a * (1 + w * vcr) / log1p(videolen_s)", TINY)
    predictions = tmp_path / "p.parquet"
    days = ["--data", tiny_log, "--days", f"{FIRST}:{LAST}", "--models", models]
    done = finerank("evaluate", "tiny", *days, "--predictions", predictions)
    assert done.exit_code == 0, done.output
    frame = pl.read_parquet(predictions)
    assert frame.columns[:8] == ["row", "ctr", "cvr", "ctcvr", "vcr", "user_id", "item_id", "day"]
    assert {"label.click", "item.videolen_s", "context.hour", "user.spending"} <= set(frame.columns)
    asked = ["--maximize", "buy.auc", "--maximize", "watch@5", "--define", "watch=vcr * videolen_s"]
    asked += ["--keep", "videolen_s@5>=0.5", "--trials", 12]
    drafts = []
    for source in (["--predictions", predictions], days):
        drafts.append(tmp_path / f"{len(drafts)}.json")
        page = tmp_path / f"page{len(drafts)}"
        done = finerank("tune", plan, *source, *asked, "--out", drafts[-1], "--report", page)
        assert done.exit_code == 0, done.output
        assert "Pareto front" in done.output
        assert "The log records no propensity" in " ".join(done.output.split())
        check_html((page / "index.html").read_text())
        assert "The log records no propensity" in (page / "report.md").read_text()
        assert (page / "pareto.svg").is_file()
    assert drafts[0].read_text() == drafts[1].read_text(), "the same rows, scored anew"
    draft = json.loads(drafts[0].read_text())
    resolved = ResolvedModels(PackageReader(Repository(models)), {"tiny": {"champion": 1}})
    assert errors(check_plan(parse_plan(draft), 1, resolved).findings) == []


def test_a_log_with_propensities_is_judged_by_them(finerank, tmp_path):
    frame = generated(lists=300).with_columns(propensity=pl.lit(0.5))
    frame.write_parquet(tmp_path / "p.parquet")
    asked = ["--maximize", "buy@3", "--trials", 5, "--report", tmp_path / "page"]
    plan = plan_file(tmp_path)
    done = finerank("tune", plan, "--predictions", tmp_path / "p.parquet", *asked)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "page" / "report.md").read_text()
    assert "| buy@3, chosen | SNIPS | 0." in text
    assert "| DR |" not in text
    assert "needs the candidates that were not shown" in text
    unshown = frame.with_columns(shown=pl.col("ctr") > 0.3)
    unshown.write_parquet(tmp_path / "p.parquet")
    finerank("tune", plan, "--predictions", tmp_path / "p.parquet", *asked)
    assert "| buy@3, control | DR | 0." in (tmp_path / "page" / "report.md").read_text()


def test_a_trial_can_be_chosen_by_its_number(finerank, tmp_path):
    generated(lists=100).write_parquet(tmp_path / "p.parquet")
    asked = ["--predictions", tmp_path / "p.parquet", "--maximize", "buy.auc", "--trials", 4]
    out = tmp_path / "d.json"
    done = finerank("tune", plan_file(tmp_path), *asked, "--choose", 0, "--out", out)
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text()) == json.loads((tmp_path / "plan.json").read_text())
    done = finerank("tune", tmp_path / "plan.json", *asked, "--choose", 9)
    assert "there is no trial 9 (there are 0 to 3)" in done.output


def test_mistakes_are_sentences(finerank, tmp_path):
    generated(lists=20).write_parquet(tmp_path / "p.parquet")
    plan, given = plan_file(tmp_path), ["--predictions", tmp_path / "p.parquet"]
    for arguments, said in (
        ([*given, "--maximize", "buy"], "none of NAME.auc"),
        ([*given, "--maximize", "buy.auc", "--define", "watch"], "is not NAME=EXPRESSION"),
        ([*given, "--maximize", "buy.auc", "--define", "w=buys"], "did you mean 'buy'"),
        (["--maximize", "buy.auc"], "give either --predictions, or --data and --days"),
        ([*given, "--maximize", "buy.auc", "--formula", "bas"], "did you mean 'base'"),
    ):
        done = finerank("tune", plan, *arguments)
        assert done.exit_code == 1, done.output
        assert said in " ".join(done.output.split()), done.output
