"""`finerank assign` tells the story of a request; `finerank experiments` what was served."""

import copy

from service.experiment.hashes import bucket
from tests.api.running import PLAN


def everybody(service, scene, **changes):
    document = copy.deepcopy(PLAN) | {"scene": scene}
    document["layers"][0]["experiments"][0] |= {"buckets": [[0, 9999]], **changes}
    service.publish(document, scene)


def test_assign_tells_every_step(service, finerank):
    everybody(service, "steps", when="context.tab == 1")
    told = finerank("assign", "steps", "context.tab=1", "--user", "u1").stdout.splitlines()
    assert told[0].startswith("fusion:vcr-up/")
    assert told[1].startswith("formula base a=0.3 b=1.")
    slots = bucket("fusion-1", "u1"), bucket("fusion-1", "vcr-up", "u1")
    assert told[2] == (
        f"layer fusion: user_id u1, bucket {slots[0]}, in vcr-up, arm slot {slots[1]},"
        " when context.tab == 1"
    )
    told = finerank("assign", "steps", "--user", "u1").stdout.splitlines()
    assert told[0] == "no experiment"
    assert told[2].endswith("when context.tab == 1, not met")


def test_assign_tells_of_force_and_ramp(service, finerank):
    everybody(service, "ramped", ramp=[{"at": "2026-11-01T00:00:00Z", "percent": 5}])
    told = finerank("assign", "ramped", "--user", "forced").stdout
    assert "forced to vcr-up/treatment" in told
    told = finerank("assign", "ramped", "--user", "u1", "--at", "2026-10-01T00:00:00Z").stdout
    assert "ramp at 0 %, not in yet" in told


def test_a_mistake_is_a_sentence(service, finerank):
    assert "write name=value" in finerank("assign", "feed", "tab", status=2).stderr
    assert "unknown scene 'nowhere'" in finerank("experiments", "nowhere", status=1).stderr
    wrong = finerank("experiments", "feed", "--url", "http://127.0.0.1:9", status=1)
    assert "no answer from http://127.0.0.1:9" in wrong.stderr


def test_experiments_lists_arms_and_fails_on_a_mismatch(service, finerank):
    everybody(service, "served")

    def rank(user):
        service.rank({"scene": "served", "user": {"id": user}, "items": []})

    for n in range(20):
        rank(f"u{n}")
    told = finerank("experiments", "served").stdout
    assert "vcr-up" in told
    assert "50.00%" in told
    assert "as planned" in told
    assert f"counted by {service.runtime.settings.replica} alone" in told
    users = (f"v{n}" for n in range(300))
    for user in users:
        if bucket("fusion-1", "vcr-up", user) < 5_000:
            rank(user)
    assert "mismatch" in finerank("experiments", "served", status=1).stdout
