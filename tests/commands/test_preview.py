"""`finerank plan preview` and `finerank outcomes`: through a service, and on a log alone."""

import copy
import json
from pathlib import Path

import pytest

from tests.api.running import PLAN
from tests.commands.conftest import Command
from tests.traffic.conftest import ask, log_directory, logging, models, stored, valkey

__all__ = ["log_directory", "logging", "models", "stored", "valkey"]

WIDE = {"COLUMNS": "200"}


@pytest.fixture(scope="module")
def replies(logging) -> list[dict]:
    replies = ask(logging, 60, explain=False)
    assert logging.runtime.parts.remembering.log.finish_files(10)
    return replies


@pytest.fixture
def draft(tmp_path) -> Path:
    plan = copy.deepcopy(PLAN) | {"model": "cut@champion", "layers": [], "force": {}}
    plan["formulas"]["base"] = {"score": "videolen_s * (0.5 + ctr)"}
    path = tmp_path / "draft.json"
    path.write_text(json.dumps(plan))
    return path


def test_a_service_previews_what_it_answered(logging, replies, draft):
    done = Command(FINERANK_URL=logging.url, **WIDE)("plan", "preview", "feed", draft)
    assert done.stdout.startswith("60 requests, ")
    assert "a change of order, not lift" in done.stdout
    assert "Kendall's tau-b of the first 100: " in done.stdout
    assert "another first item in " in done.stdout


def test_of_short_lists_only_what_can_differ_is_shown(service, finerank, tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))

    def preview_after(candidates):
        ids = [f"i{n}" for n in range(candidates)]
        service.rank({"scene": "feed", "user": {"id": "1"}, "candidates": {"ids": ids}})
        return finerank("plan", "preview", "feed", tmp_path / "plan.json").stdout.splitlines()

    short = preview_after(5)
    assert "only requests with more than k candidates count at k: @5 0, @10 0, @50 0" in short
    assert not any(line.startswith("overlap") for line in short)
    assert not any("mean over the first k" in line for line in short)
    longer = preview_after(8)
    assert "overlap @5 100.0% (@k: the first k places, as served and as drafted)" in longer
    assert "only requests with more than k candidates count at k: @5 1, @10 0, @50 0" in longer
    (header,) = (line for line in longer if "mean over the first k" in line)
    assert header.split()[5:] == ["@5", "draft", "Δ"]


def test_help_says_what_k_is():
    told = " ".join(Command(**WIDE)("plan", "preview", "--help").stdout.split())
    assert (
        "What is said @k is about the first k places, over the requests with more than k candidates"
    ) in told


def test_a_log_alone_gives_the_same_report(logging, replies, draft, log_directory, models):
    preview = ("plan", "preview", "feed", draft, "--json")
    online = Command(FINERANK_URL=logging.url)(*preview, "--last", "60")
    offline = Command()(*preview, "--log", log_directory, "--models", models)
    here, there = json.loads(online.stdout), json.loads(offline.stdout)
    assert (here["source"], there["source"]) == ("memory", "log")
    for key in ("requests", "overlap", "top1_changed", "unchanged", "formulas", "models"):
        assert here[key] == there[key]
    assert here["tau_b"] == pytest.approx(there["tau_b"])


def test_a_log_that_is_not_there_is_a_sentence(draft, tmp_path, models):
    done = Command()(
        *("plan", "preview", "feed", draft, "--log", tmp_path, "--models", models), status=1
    )
    assert "holds no finished log file of scene 'feed'" in done.stderr


def test_a_draft_with_errors_shows_them(tmp_path, draft, log_directory, replies, models):
    plan = json.loads(draft.read_text())
    plan["formulas"]["base"]["score"] = "ctrr"
    draft.write_text(json.dumps(plan))
    done = Command()(
        *("plan", "preview", "feed", draft, "--log", log_directory, "--models", models), status=1
    )
    assert "did you mean 'ctr'?" in done.stderr


def test_outcomes_are_shown_by_arm(replies, log_directory, tmp_path):
    lines = ["request_id,click", *(f"{r['request_id']},{n % 2}" for n, r in enumerate(replies))]
    (tmp_path / "clicks.csv").write_text("\n".join(lines))
    done = Command(**WIDE)("outcomes", "feed", tmp_path / "clicks.csv", "--log", log_directory)
    assert "60 requests of " in done.stdout
    assert "60 have outcomes" in done.stdout


def test_a_draft_is_estimated_where_propensities_were_logged(
    replies, log_directory, tmp_path, draft, models
):
    lines = ["request_id,item_id,propensity,click"]
    for reply in replies:
        lines += [f"{reply['request_id']},{id_},0.5,{n % 2}" for n, id_ in enumerate(reply["ids"])]
    (tmp_path / "shown.csv").write_text("\n".join(lines))
    done = Command(**WIDE)(
        *("outcomes", "feed", tmp_path / "shown.csv", "--log", log_directory),
        *("--draft", draft, "--models", models),
    )
    assert "mean a place of the first 5" in done.stdout
    assert "doubly robust" in done.stdout


def test_outcomes_of_other_requests_are_refused(replies, log_directory, tmp_path):
    (tmp_path / "o.csv").write_text("request_id,click\nelsewhere,1\n")
    done = Command()("outcomes", "feed", tmp_path / "o.csv", "--log", log_directory, status=1)
    assert "no request id of the outcomes is in the log" in done.stderr
