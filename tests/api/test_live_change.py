"""Fifty plans are published while a client posts: every reply is exactly one of them."""

import copy
import threading
import time

import numpy as np
import pytest

from tests.api.running import PLAN, Running, running

PUBLICATIONS = 50
VISIBLE_WITHIN_S = 1.0
IDS = [f"i{n}" for n in range(20, 60)]
LENGTHS = [3.0 + n for n in range(40)]
REQUEST = {
    "scene": "feed",
    "user": {"id": "u7"},
    "candidates": {"ids": IDS, "features": {"videolen_s": LENGTHS}},
}


def plan(number: int):
    document = copy.deepcopy(PLAN)
    document["layers"], document["force"] = [], {}
    params = document["formulas"]["base"]["params"]
    params["a"]["value"], params["b"]["value"] = 0.1 + number / 50, 5 - number / 20
    params["c"]["value"] = 0.5
    if number % 3 == 0:
        # another shape, not only other numbers
        document["formulas"]["base"]["score"] = "a * ctr + b * vcr - c * like"
        document["formulas"]["base"].pop("let")
    return document


def expected_scores(number: int, heads, ids):
    """The formula of `plan(number)`, written a second time."""
    a, b, c = 0.1 + number / 50, 5 - number / 20, 0.5
    head = {name: np.array(values, np.float64) for name, values in heads.items()}
    if number % 3 == 0:
        return a * head["ctr"] + b * head["vcr"] - c * head["like"]
    length = np.array([LENGTHS[IDS.index(i)] for i in ids])
    boost = 1.0 / (1.0 + np.log1p(length / 30.0))
    return head["ctr"] ** a * (1.0 + head["vcr"]) ** b * head["ctcvr"] ** c * boost


class Poster(threading.Thread):
    """Posts one request after the other until told to stop; keeps every answer."""

    def __init__(self, service: Running) -> None:
        super().__init__(daemon=True)
        self._service = service
        self.stop = threading.Event()
        self.answers: list[tuple[int, dict]] = []

    def run(self) -> None:
        while not self.stop.is_set():
            answer = self._service.rank(REQUEST)
            self.answers.append((answer.status_code, answer.json()))


def visible(service: Running, version: int) -> float:
    """Seconds until a new request is ranked by `version`."""
    started_at = time.monotonic()
    while time.monotonic() - started_at < VISIBLE_WITHIN_S:
        if service.rank(REQUEST).json()["plan"] == version:
            return time.monotonic() - started_at
    pytest.fail(f"version {version} is not visible after {VISIBLE_WITHIN_S} s")


def test_every_reply_is_exactly_one_published_plan_while_fifty_are_published(service):
    numbers = {service.publish(plan(1)): 1}
    poster = Poster(service)
    poster.start()
    for number in range(2, PUBLICATIONS + 2):
        version = service.publish(plan(number))
        numbers[version] = number
        visible(service, version)
    poster.stop.set()
    poster.join(10)

    assert len(poster.answers) > PUBLICATIONS
    assert {status for status, _ in poster.answers} == {200}
    for _, reply in poster.answers:
        assert reply["degraded"] == []
        scores = expected_scores(numbers[reply["plan"]], reply["heads"], reply["ids"])
        np.testing.assert_allclose(reply["scores"], scores, rtol=1e-12)
        others = [
            number
            for number in numbers.values()
            if number != numbers[reply["plan"]]
            and np.allclose(reply["scores"], expected_scores(number, reply["heads"], reply["ids"]))
        ]
        assert others == []
    versions = [reply["plan"] for _, reply in poster.answers]
    assert versions == sorted(versions)


def test_a_plan_published_elsewhere_is_visible_here_within_a_second(
    service, models, valkey, tmp_path
):
    with running(models, valkey, tmp_path) as other:
        for number in (1, 2, 3):
            version = other.publish(plan(number))
            visible(service, version)


def test_refused_plans_in_between_change_nothing(service):
    version = service.publish(plan(4))
    for score in ("ctr *", "ctr * nohead", "log(ctr - ctr)"):
        bad = plan(5)
        bad["formulas"]["base"] = {"score": score}
        assert service.put(bad).status_code == 422
        assert service.rank(REQUEST).json()["plan"] == version
    stale = service.put(plan(6), **{"If-Match": f'"v{version - 1}"'})
    assert stale.status_code == 412
    assert service.rank(REQUEST).json()["plan"] == version
