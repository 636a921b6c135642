"""Assignment is the hash arithmetic of DESIGN §6: uniform, independent, and it moves nobody."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from service.experiment.assignment import arm_limits, layer_slots, unit_of
from service.experiment.document import Layer
from service.experiment.hashes import bucket, growthbook

USERS = [str(n) for n in range(100_000)]
CERTAIN = 0.999  # quantile of χ²; the ids are fixed, so a pass is a pass for ever


def slot_of(text: str) -> int:
    return int(hashlib.sha256(text.encode("utf-8")).hexdigest()[:16], 16) % 10_000


def layer(*experiments: dict[str, object], salt: str = "s") -> Layer:
    return Layer.model_validate_json(
        json.dumps({"name": "l", "salt": salt, "experiments": experiments})
    )


def experiment(name: str, ranges: list[list[int]], **shares: float) -> dict[str, object]:
    arms = [{"name": arm, "share": share} for arm, share in shares.items()]
    return {"name": name, "buckets": ranges, "arms": arms}


def test_buckets_are_these():
    assert bucket("fusion-2026-11", "712") == 7722
    assert bucket("fusion-2026-11", "vcr-up", "712") == 1073
    assert bucket("salt", "") == slot_of("salt:")
    assert bucket("salt", "用户-7") == slot_of("salt:用户-7")


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_bucket_is_the_hash_of_salt_and_unit(salt: str, unit: str):
    assert bucket(salt, unit) == slot_of(f"{salt}:{unit}")


def test_buckets_are_uniform():
    counts = [0] * 100
    for user in USERS:
        counts[bucket("fusion-2026-11", user) // 100] += 1
    expected = len(USERS) / 100
    statistic = sum((count - expected) ** 2 / expected for count in counts)
    assert statistic < chi2.ppf(CERTAIN, 99)


def test_layers_with_other_salts_are_independent():
    table = [[0] * 10 for _ in range(10)]
    for user in USERS:
        table[bucket("one", user) // 1000][bucket("two", user) // 1000] += 1
    expected = len(USERS) / 100
    statistic = sum((cell - expected) ** 2 / expected for row in table for cell in row)
    assert statistic < chi2.ppf(CERTAIN, 99)


def test_arms_are_independent_of_the_bucket_and_follow_their_shares():
    slots = layer_slots(layer(experiment("e", [[0, 4999]], a=1, b=2, c=1)))
    table = {(half, choice): 0 for half in (0, 1) for choice in (1, 2, 3)}
    for user in USERS:
        place, choice = slots.choose(user)
        if choice:
            table[place // 2500, choice] += 1
    inside = sum(table.values())
    expected = {1: inside / 8, 2: inside / 4, 3: inside / 8}
    statistic = sum((n - expected[c]) ** 2 / expected[c] for (_, c), n in table.items())
    assert statistic < chi2.ppf(CERTAIN, 5)


def test_growing_an_experiment_moves_nobody_who_is_in_it():
    small = layer_slots(layer(experiment("e", [[0, 99]], a=50, b=50)))
    grown = layer_slots(layer(experiment("e", [[0, 499], [8000, 8999]], a=50, b=50)))
    inside = [(small.choose(u), grown.choose(u)) for u in USERS[:20_000] if small.choose(u)[1]]
    assert len(inside) > 100
    assert all(before == after for before, after in inside)


def test_another_experiment_beside_it_moves_nobody():
    alone = layer_slots(layer(experiment("e", [[0, 99]], a=50, b=50)))
    beside = layer_slots(
        layer(experiment("first", [[200, 299]], x=1), experiment("e", [[0, 99]], a=50, b=50))
    )
    for user in USERS[:5_000]:
        place, choice = alone.choose(user)
        if choice:
            assert beside.choose(user) == (place, choice + 1)


def test_a_unit_is_in_the_arm_that_the_arithmetic_says():
    slots = layer_slots(layer(experiment("e", [[0, 9999]], a=30, b=70), salt="salt"))
    for user in USERS[:2_000]:
        arm = 1 if slot_of(f"salt:e:{user}") < 3_000 else 2
        assert slots.choose(user) == (slot_of(f"salt:{user}"), arm)


def test_bucket_ranges_are_inclusive():
    slots = layer_slots(layer(experiment("e", [[10, 20], [9999, 9999]], a=1)))
    taken = [b for b, found in enumerate(slots.experiments) if found is not None]
    assert taken == [*range(10, 21), 9999]


@pytest.mark.parametrize(
    ("shares", "limits"),
    [
        ([50, 50], (5_000, 10_000)),
        ([1, 2], (3_334, 10_000)),  # slot 3333 < 3333.33
        ([0.1, 0.2, 0.7], (1_000, 3_000, 10_000)),
        ([0, 1], (0, 10_000)),
        ([1, 0], (10_000, 10_000)),
        ([1e-9, 1], (1, 10_000)),
    ],
)
def test_shares_are_normalised_and_cumulative(shares: list[float], limits: tuple[int, ...]):
    assert arm_limits(shares) == limits


@given(st.lists(st.integers(0, 100), min_size=1, max_size=6).filter(any), st.integers(0, 9999))
def test_a_slot_belongs_to_the_first_arm_whose_cumulative_share_is_above_it(
    shares: list[int], slot: int
):
    limits = arm_limits(shares)
    arm = next(i for i, limit in enumerate(limits) if slot < limit)
    total = sum(shares)
    assert slot * total < 10_000 * sum(shares[: arm + 1])
    assert arm == 0 or slot * total >= 10_000 * sum(shares[:arm])
    assert shares[arm] > 0


@pytest.mark.parametrize(
    ("weights", "published"),
    [  # of "getBucketRange" in the cases.json of GrowthBook's SDKs; the last two cover a part
        ([1, 1], [(0, 0.5), (0.5, 1)]),
        ([1, 1, 1, 1], [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]),
        ([0.2, 0.3, 0.5], [(0, 0.2), (0.2, 0.5), (0.5, 1)]),
        (None, [(0, 0.25), (0.5, 0.75)]),
        (None, [(0, 0.04), (0.2, 0.26), (0.5, 0.6)]),
    ],
)
def test_a_growthbook_layer_gives_the_variation_of_growthbook(weights, published):
    slots = [[[round(a * 10_000), round(b * 10_000) - 1]] for a, b in published]
    arms = [
        {"name": f"v{i}", **({"slots": slots[i]} if weights is None else {"share": weights[i]})}
        for i in range(len(published))
    ]
    document = {"name": "e", "buckets": [[0, 9999]], "arms": arms, "seed": "my-test"}
    layer_ = {"name": "l", "salt": "s", "hash": "growthbook", "experiments": [document]}
    ours = layer_slots(Layer.model_validate_json(json.dumps(layer_)))
    for user in USERS[:3_000]:
        n = growthbook("my-test", user, 2) / 10_000
        theirs = next((i for i, (a, b) in enumerate(published) if a <= n < b), -1)
        assert ours.choose(user)[1] == theirs + 1


def test_units_are_user_request_or_a_context_value():
    context = {"device": "d-1", "tab": 1, "flag": True, "rate": 0.5, "empty": "", "list": [1]}
    assert unit_of("user_id", "712", "r-1", context) == "712"
    assert unit_of("request_id", "712", "r-1", context) == "r-1"
    assert unit_of("context.device", "712", "r-1", context) == "d-1"
    assert unit_of("context.tab", None, None, context) == "1"
    for absent in ("flag", "rate", "empty", "list", "missing"):
        assert unit_of(f"context.{absent}", "712", "r-1", context) is None
    assert unit_of("user_id", None, "r-1", context) is None
    assert unit_of("user_id", "", "r-1", context) is None
