"""`finerank plan …` against a real service."""

import copy
import getpass
import json

import httpx
import pytest

from service.commands.plan_client import Refused, accepted
from tests.api.running import PLAN
from tests.commands.conftest import Command


@pytest.fixture(autouse=True)
def known_plan(service):
    service.publish(PLAN)


def live(service):
    return service.client.get("/v1/plans/feed").json()


@pytest.fixture
def file(tmp_path):
    def write(change=None):
        document = copy.deepcopy(PLAN)
        if change is not None:
            change(document)
        path = tmp_path / "plan.json"
        path.write_text(json.dumps(document))
        return path

    return write


def test_get_prints_a_plan_that_can_be_published_again(finerank, tmp_path):
    done = finerank("plan", "get", "feed")
    assert json.loads(done.stdout) == PLAN
    assert done.stderr.startswith("version ")


def test_set_changes_a_param_and_shows_before_and_after(finerank, service):
    before = live(service)["version"]
    done = finerank("plan", "set", "feed", "b=1.6", "w_like=3", "-m", "more completion")
    assert done.stdout.splitlines() == [
        "base.b: 1.2 -> 1.6 (+33.3 %)",
        "sum.w_like: 4 -> 3 (-25.0 %)",
        f"version {before} -> {before + 1}",
    ]
    now = live(service)
    assert now["plan"]["formulas"]["base"]["params"]["b"]["value"] == 1.6
    assert (now["author"], now["message"]) == ("tester", "more completion")


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("bb=1", "no formula has a param 'bb'; did you mean 'b'?"),
        ("b=99", "/formulas/base/params/b: param 'b' is 99, outside its bounds [0, 5]"),
    ],
)
def test_set_refuses_in_a_sentence_and_changes_nothing(finerank, service, assignment, words):
    before = live(service)
    done = finerank("plan", "set", "feed", assignment, status=1)
    assert words in done.stderr
    assert live(service) == before


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("b", "'b': write name=number, like b=1.6"),
        ("b=high", "'b=high': write name=number, like b=1.6"),
        ("=1", "'=1': write name=number, like b=1.6"),
        ("b=nan", "'b=nan': numbers must be finite"),
        ("b=-inf", "'b=-inf': numbers must be finite"),
    ],
)
def test_a_wrong_command_line_is_told_where_no_service_is(assignment, words):
    done = Command(FINERANK_URL="http://127.0.0.1:1")("plan", "set", "feed", assignment, status=2)
    assert done.stderr == f"error: {words}\n"


def test_a_write_without_a_token_says_where_it_comes_from(service):
    done = Command(FINERANK_URL=service.url)("plan", "set", "feed", "b=1", status=1)
    assert "a write needs the service's token: --token, or FINERANK_TOKEN" in done.stderr
    done = Command(FINERANK_URL=service.url)(
        "plan", "set", "feed", "b=1", "--token", "wrong", status=1
    )
    assert "the bearer token is wrong" in done.stderr


def test_validate_prints_findings_with_a_caret(finerank, file):
    assert "the plan can be published" in finerank("plan", "validate", "feed", file()).stdout

    def wrong(document):
        document["formulas"]["base"]["score"] = "ctr * vvr"

    done = finerank("plan", "validate", "feed", file(wrong), status=1)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error /formulas/base/score: ")
    formula = next(n for n, line in enumerate(lines) if line.strip() == "ctr * vvr")
    marker = lines[formula + 1]
    assert marker.index("^") >= lines[formula].index("vvr")


def test_publish_replaces_the_live_plan(finerank, service, file):
    def faster(document):
        document["deadline_ms"] = 30

    before = live(service)["version"]
    done = finerank("plan", "publish", "feed", file(faster), "-m", "why")
    assert done.stdout.strip() == f"version {before} -> {before + 1}"
    assert live(service)["plan"]["deadline_ms"] == 30


def test_publish_makes_the_first_plan_of_a_scene(finerank, service, file):
    def elsewhere(document):
        document["scene"] = "fresh"

    done = finerank("plan", "publish", "fresh", file(elsewhere))
    assert done.stdout.strip() == "version none -> 1"
    assert service.rank({"scene": "fresh", "items": []}).status_code == 200


def test_publish_stops_at_errors_and_asks_about_warnings(finerank, service, file):
    def idle(document):
        document["layers"][0]["experiments"][0]["arms"][1]["set"] = {"params": {"bb": 1}}

    def broken(document):
        document["default"]["formula"] = "bse"

    before = live(service)
    done = finerank("plan", "publish", "feed", file(broken), status=1)
    assert "nothing was published" in done.stderr
    finerank("plan", "publish", "feed", file(idle), input="n\n", status=1)
    assert live(service) == before
    finerank("plan", "publish", "feed", file(idle), input="y\n")
    finerank("plan", "publish", "feed", file(idle), "--yes")
    assert live(service)["version"] == before["version"] + 2


def test_diff_shows_what_would_change(finerank, file):
    assert finerank("plan", "diff", "feed", file()).stdout == ""

    def stronger(document):
        document["formulas"]["base"]["params"]["b"]["value"] = 1.6

    lines = finerank("plan", "diff", "feed", file(stronger)).stdout.splitlines()
    changed = [line.replace(" ", "") for line in lines if line[0] in "+-" and "value" in line]
    assert changed == ['-"value":1.2,', '+"value":1.6,']


def test_history_and_rollback(finerank, service):
    finerank("plan", "set", "feed", "b=2", "-m", "try two")
    before = live(service)["version"]
    done = finerank("plan", "rollback", "feed")
    assert f"version {before} -> {before + 1}: rollback to {before - 1}" in done.stdout
    assert live(service)["plan"] == PLAN
    listed = finerank("plan", "history", "feed", "--limit", "2").stdout
    assert f"{before + 1} *" in listed
    assert "try two" in listed
    done = finerank("plan", "rollback", "feed", "--to", before, "-m", "two was right")
    told = f"rollback to {before}: two was right"
    assert f"version {before + 1} -> {before + 2}: {told}" in done.stdout
    assert told in finerank("plan", "history", "feed", "--limit", "1").stdout
    done = finerank("plan", "rollback", "feed", "--to", "99999", status=1)
    assert "has no plan version 99999" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "is not JSON"), ("[]", "holds no JSON object"), (None, "No such file")],
)
def test_a_file_that_is_no_plan_is_refused(finerank, tmp_path, text, words):
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    assert words in finerank("plan", "validate", "feed", path, status=1).stderr


def test_a_plan_may_come_from_stdin(finerank):
    finerank("plan", "validate", "feed", "-", input=json.dumps(PLAN))


def test_a_service_that_is_not_there_is_named():
    done = Command()("plan", "get", "feed", "--url", "http://127.0.0.1:9", status=1)
    assert done.stderr == (
        "error: no answer from http://127.0.0.1:9: [Errno 111] Connection refused; if the service"
        " runs elsewhere, say where with --url or FINERANK_URL, else start it with finerank serve\n"
    )


def test_a_scene_without_plan_is_named(finerank):
    done = finerank("plan", "get", "nowhere", status=1)
    assert "scene 'nowhere' has no plan" in done.stderr


def test_a_formula_turns_into_text_and_back(finerank, file, tmp_path):
    path = file()
    text = json.loads(finerank("plan", "form", path, "--formula", "sum", "--text").stdout)
    assert text["formulas"]["sum"]["score"] == "w_ctr * ctr + w_like * like + w_vcr * vcr"
    (tmp_path / "text.json").write_text(json.dumps(text))
    back = finerank("plan", "form", tmp_path / "text.json", "--formula", "sum", "--structured")
    assert json.loads(back.stdout)["formulas"]["sum"]["additive"]["like"] == {"weight": 4.0}
    said = finerank("plan", "form", path, "--formula", "base", "--structured", status=1).stderr
    assert "formula 'base' says more than a structured form can" in said
    said = finerank("plan", "form", path, "--formula", "bse", status=1).stderr
    assert "there is no formula 'bse'" in said


def test_a_refusal_says_the_only_mistake_once_with_its_place(finerank):
    said = finerank("plan", "set", "feed", "bb=1", status=1).stderr.strip()
    what = "no formula has a param 'bb'; did you mean 'b'?"
    assert said == f"error: The request breaks a rule of its form: /params/bb: {what}"
    said = finerank("plan", "set", "feed", "b=99", status=1).stderr
    assert said.count("param 'b' is 99, outside its bounds [0, 5]") == 1


def test_what_only_warns_is_called_a_warning_below_an_error():
    faults = [
        {"pointer": "/a", "detail": "is wrong", "severity": "error"},
        {"pointer": "/b", "detail": "is doubtful", "severity": "warning"},
    ]
    problem = {"title": "No", "detail": "/a: is wrong (2 findings)", "errors": faults}
    with pytest.raises(Refused) as refused:
        accepted(httpx.Response(422, json=problem))
    assert str(refused.value).splitlines()[1:] == ["  /a: is wrong", "  warning /b: is doubtful"]


def test_history_names_the_login_or_somebody(finerank, service):
    Command(**finerank.environment | {"USER": ""})("plan", "set", "feed", "b=1.3")
    assert live(service)["author"] == getpass.getuser()
    service.publish(PLAN)
    newest = finerank("plan", "history", "feed", "--limit", "1").stdout.splitlines()[1]
    assert newest.split()[3:] == ["somebody"]
    assert " by somebody at " in finerank("plan", "get", "feed").stderr
