"""`finerank explain` against a real service."""

import json
import re

import pytest

from tests.api.running import PLAN

ITEMS = [{"id": f"i{n}", "features": {"videolen_s": 5.0 * n}} for n in range(14, 24)]


@pytest.fixture(autouse=True)
def known_plan(service):
    service.publish(PLAN)


@pytest.fixture
def file(tmp_path):
    def write(**request):
        path = tmp_path / "request.json"
        path.write_text(json.dumps({"user": {"id": "u1"}, "items": ITEMS, **request}))
        return path

    return write


def test_it_shows_the_terms_of_the_best_items(finerank, file, service):
    best = service.rank({"user": {"id": "u1"}, "items": ITEMS}).json()["items"][0]
    said = finerank("explain", file(), "--top", 2).stdout
    assert "ctr^a * (1 + vcr)^b * ctcvr^c * f(videolen_s)" in said
    assert "a = 0.3, b = 1.2, c = 0.5" in said
    assert f"{best['id']}: place 1, score {best['score']:.6g}" in said
    assert said.count(": place ") == 2
    assert "log share" in said


def test_it_shows_what_an_arm_changed(finerank, file):
    said = finerank("explain", file(user={"id": "forced"}), "--item", "i15").stdout
    assert "layer fusion: bucket" in said
    assert "vcr-up/treatment" in said
    assert "  b: 1.2 -> 1.6" in said
    assert "; in no experiment " in said


def test_it_says_why_one_item_is_above_another(finerank, file, service):
    ranked = service.rank({"user": {"id": "u1"}, "items": ITEMS}).json()["items"]
    first, last = ranked[0]["id"], ranked[-1]["id"]
    said = finerank("explain", file(), "--compare", last, first).stdout
    assert f"{first} (" in said
    assert f"is above {last} (" in said
    (lead,) = (line for line in said.splitlines() if line.startswith("lead of log score: "))
    adds, takes, rest = (float(word) for word in re.findall(r"[-+]?[0-9][0-9.e-]*", lead))
    assert adds - takes == pytest.approx(rest, abs=1e-4)
    shares = [float(share) for share in re.findall(r"([-+][0-9]+)%", said)]
    assert sum(map(abs, shares)) == pytest.approx(100, abs=2)
    assert any(name in said for name in ("would flip them", "outside its bounds", "nowhere"))


def test_columns_can_be_explained_too_and_the_reply_printed(finerank, tmp_path):
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"candidates": {"ids": ["i14", "i15"]}}))
    assert ": place 2" in finerank("explain", path).stdout
    assert len(json.loads(finerank("explain", path, "--json").stdout)["explain"]) == 2


def test_what_cannot_be_explained_is_a_sentence(finerank, file, tmp_path):
    done = finerank("explain", file(items=[]), status=1)
    assert done.stderr == (
        "error: nothing was scored, so there is nothing to explain: there are no candidates\n"
    )
    done = finerank("explain", file(), "--compare", "i14", "i99", status=1)
    assert "/explain/compare/1: 'i99' is no candidate of this request" in done.stderr
    done = finerank("explain", file(), "--item", "i14", "--item", "i99", status=1)
    assert done.stderr == "error: 'i99' is not in the answer\n"
    done = finerank("explain", tmp_path / "none.json", status=1)
    assert done.stderr.endswith("none.json: No such file or directory\n")
