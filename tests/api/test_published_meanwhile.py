"""Who publishes over an old version is told who was faster, and what that changed."""

import copy

from tests.api.running import AUTH, PLAN
from tests.api.test_plan_routes import changed

URL = "/v1/plans/feed"


def test_who_publishes_second_is_told_what_the_first_has_changed(service):
    base = service.publish(PLAN)
    theirs = copy.deepcopy(changed(b=1.8))
    theirs["formulas"]["base"]["score"] = "ctr^a * (1 + vcr)^b * ctcvr^c"
    first = service.client.put(
        URL, json=theirs, headers={**AUTH, "If-Match": f'"v{base}"'},
        params={"author": "她", "message": "no length"},
    )  # fmt: skip
    assert first.status_code == 200
    for method, body in (("PUT", changed(b=0.9)), ("PATCH", {"params": {"b": 0.9}})):
        second = service.client.request(
            method, URL, json=body, headers={**AUTH, "If-Match": f'"v{base}"'}
        )
        assert second.status_code == 412
        problem = second.json()
        assert problem["version"] == base + 1
        assert (problem["author"], problem["message"]) == ("她", "no length")
        assert problem["changes"] == [
            "base.b: 1.2 -> 1.8 (+50.0 %)",
            "base score:",
            "- ctr^a * (1 + vcr)^b * ctcvr^c * f(videolen_s)",
            "+ ctr^a * (1 + vcr)^b * ctcvr^c",
        ]
    assert service.client.get(URL).json()["plan"] == theirs


def test_a_version_that_never_was_gets_the_live_one_alone(service):
    live = service.publish(PLAN)
    answer = service.client.put(
        URL, json=changed(b=0.9), headers={**AUTH, "If-Match": f'"v{live + 100}"'}
    )
    assert answer.status_code == 412
    assert answer.json()["version"] == live
    assert "changes" not in answer.json()
