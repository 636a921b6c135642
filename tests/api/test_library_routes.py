"""`/v1/libraries`: immutable versions that plans pin, served after a restart without the store."""

import copy

from tests.api.running import AUTH, PLAN, TOKEN, running
from tests.commands.conftest import Command
from tests.experiment.test_library import SHARED

URL = "/v1/libraries/shared"


def put(service, document=SHARED, **headers):
    return service.client.put(URL, json=document, headers={**AUTH, **headers})


def pinned(version: int, scene: str = "feed"):
    formula = {"from": "shared/base", "params": {"a": 0.5}}
    return {
        **copy.deepcopy(PLAN), "scene": scene, "layers": [], "force": {},
        "formulas": {"base": formula}, "library": {"shared": version},
    }  # fmt: skip


def score(service, scene: str) -> float:
    items = [{"id": "i20", "features": {"videolen_s": 60}}]
    return service.rank({"scene": scene, "items": items}).json()["items"][0]["score"]


def test_scenes_share_a_formula_and_keep_it_until_they_pin_another(service, tmp_path):
    first = put(service, **{"If-None-Match": "*"})
    assert first.status_code == 200, first.text
    for scene in ("feed", "other"):
        assert service.put(pinned(1, scene), scene).status_code == 200
    before = score(service, "feed")
    assert before == score(service, "other")
    stronger = {**SHARED, "let": {**SHARED["let"], "curve(x)": "log1p(x / 3)"}}
    assert put(service, stronger, **{"If-Match": '"v1"'}).json()["version"] == 2
    assert score(service, "feed") == before
    assert service.put(pinned(2), "feed").status_code == 200
    assert score(service, "feed") < before
    assert score(service, "other") == before
    assert service.client.get("/v1/libraries").json() == {"libraries": {"shared": 2}}
    assert service.client.get(URL, params={"version": 1}).json()["library"] == SHARED
    stale = put(service, **{"If-Match": '"v1"'})
    assert (stale.status_code, stale.json()["version"]) == (412, 2)


def test_what_is_pinned_must_be_there_and_fit(service):
    missing = service.put(pinned(99))
    assert missing.status_code == 422
    assert missing.json()["errors"][0] == {
        "pointer": "/library/shared",
        "detail": "there is no library 'shared' version 99",
        "severity": "error",
    }
    misfit = {**SHARED, "let": {**SHARED["let"], "curve(x)": "x / thirty"}}
    newest = service.client.get(URL).json()["version"]
    version = put(service, misfit, **{"If-Match": f'"v{newest}"'}).json()["version"]
    refused = service.put(pinned(version)).json()["errors"][0]
    assert refused["pointer"] == "/library/shared"
    assert f"(from let curve(x) of library shared/{version})" in refused["detail"]


def test_a_library_is_a_write_and_must_parse(service):
    assert service.client.put(URL, content=b"{").status_code == 401
    broken = put(service, {**SHARED, "let": {"f(x)": "("}}, **{"If-Match": "*"})
    assert broken.status_code == 422
    assert broken.json()["errors"][0]["pointer"] == "/let/f(x)"
    assert service.client.get("/v1/libraries/nothing").status_code == 404


def test_a_start_without_the_store_serves_the_library_from_disk(
    models, valkey_of_its_own, tmp_path
):
    with running(models, valkey_of_its_own, tmp_path) as service:
        put(service, **{"If-None-Match": "*"})
        service.publish(pinned(1))
        before = score(service, "feed")
    with running(models, "redis://127.0.0.1:9", tmp_path) as service:
        assert score(service, "feed") == before


def test_libraries_are_published_from_the_command_line(service, tmp_path):
    finerank = Command(FINERANK_URL=service.url, FINERANK_TOKEN=TOKEN, USER="tester")
    text = finerank("library", "get", "shared", "--version", "1").stdout
    (tmp_path / "shared.json").write_text(text)
    newest = service.client.get(URL).json()["version"]
    done = finerank("library", "publish", "shared", tmp_path / "shared.json", "-m", "back")
    assert done.stdout.splitlines()[-1] == f"shared/{newest + 1}"
    assert finerank("library", "list").stdout.strip() == f"shared/{newest + 1}"
    history = service.client.get(URL + "/history").json()["history"]
    assert (history[0]["author"], history[0]["message"]) == ("tester", "back")
