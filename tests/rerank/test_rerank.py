from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as given_by
from hypothesis import settings

from service.rerank.rerank import rerank
from tests.rerank.plans import Cap, Decay, Fresh, Mmr, Rules, cases, given

LIMITS = settings(deadline=None, max_examples=200)


def order(rules, candidates):
    return rerank(rules, candidates).order.tolist()


@LIMITS
@given_by(cases())
def test_no_item_is_lost_or_doubled_and_those_without_scores_stay_last(case):
    rules, candidates = case
    after = rerank(rules, candidates).order
    assert sorted(after.tolist()) == list(range(len(candidates.ids)))
    assert after[candidates.valid :].tolist() == candidates.order[candidates.valid :].tolist()


@LIMITS
@given_by(cases())
def test_without_rules_the_order_is_the_same(case):
    _, candidates = case
    found = rerank(Rules(), candidates)
    assert found.order.tolist() == candidates.order.tolist()
    assert found.unmet == {}


@LIMITS
@given_by(cases())
def test_the_same_request_gets_the_same_order_told_or_not(case):
    rules, candidates = case
    first, second = rerank(rules, candidates), rerank(rules, candidates, told=True)
    assert first.order.tolist() == second.order.tolist()
    assert first.unmet == second.unmet


@LIMITS
@given_by(cases())
def test_every_rule_holds_or_is_reported_with_how_often_it_does_not(case):
    rules, candidates = case
    found = rerank(rules, candidates)
    rows = found.order[: candidates.valid].tolist()
    expected = {}
    for number, cap in enumerate(rules.caps):
        ids = candidates.categories[cap.by][rows[: rules.places]].tolist()
        places = range(len(ids))
        expected[f"caps/{number}"] = sum(
            ids[p] != 0 and ids[max(0, p - cap.window + 1) : p].count(ids[p]) >= cap.most
            for p in places
        )
    if rules.fresh is not None:
        ages = candidates.attributes["age"][rows[: rules.fresh.first]]
        shown = sum(age <= rules.fresh.below for age in ages)
        expected["fresh"] = max(rules.fresh.least - shown, 0)
    asked = {id_: place for id_, place in rules.pins.items() if id_ in candidates.ids}
    expected["pins"] = sum(
        place > len(rows) or candidates.ids[rows[place - 1]] != id_ for id_, place in asked.items()
    )
    assert found.unmet == {rule: count for rule, count in expected.items() if count}


def test_decay_lets_other_authors_pass():
    candidates = given([10, 9, 8, 5], author=[1, 1, 1, 2])
    assert order(Rules(decay=(Decay(),)), candidates) == [0, 3, 1, 2]  # 10, 5, 4.5, 2


def test_decay_lowers_negative_scores_too_and_keeps_its_floor():
    candidates = given([-1.0, -1.2, -1.4], author=[1, 1, 2])
    assert order(Rules(decay=(Decay(),)), candidates) == [0, 2, 1]
    held = Rules(decay=(Decay(factor=0.0, floor=0.9),))
    assert order(held, given([10, 9.5, 8], author=[1, 1, 2])) == [0, 1, 2]


def test_items_of_no_known_category_are_not_alike():
    candidates = given([10, 9, 8], author=[0, 0, 0])
    rules = Rules(decay=(Decay(),), caps=(Cap(),))
    assert order(rules, candidates) == [0, 1, 2]
    assert rerank(rules, candidates).unmet == {}


def test_a_cap_moves_an_item_no_further_down_than_it_must():
    candidates = given([10, 9, 8, 7, 6], author=[1, 1, 1, 2, 3])
    assert order(Rules(caps=(Cap(most=1, window=2),)), candidates) == [0, 3, 1, 4, 2]
    assert order(Rules(caps=(Cap(most=2, window=3),)), candidates) == [0, 1, 3, 2, 4]


def test_a_cap_that_cannot_hold_says_how_many_items_are_too_many():
    found = rerank(Rules(caps=(Cap(most=1, window=2),)), given([4, 3, 2, 1], author=[1, 1, 1, 2]))
    assert found.order.tolist() == [0, 3, 1, 2]
    assert found.unmet == {"caps/0": 1}


def test_new_items_come_forward_as_far_as_the_rule_asks():
    candidates = given([9, 8, 7, 6, 5, 4], age=[5, 5, 5, 5, 1, 0])
    rules = Rules(fresh=Fresh(least=1, first=3))
    assert order(rules, candidates) == [0, 1, 4, 2, 3, 5]
    assert order(Rules(fresh=Fresh(least=2, first=3)), candidates) == [0, 4, 5, 1, 2, 3]
    assert rerank(Rules(fresh=Fresh(least=3, first=3)), candidates).unmet == {"fresh": 1}


def test_a_pin_takes_its_place_and_the_others_make_room_under_their_caps():
    candidates = given([9, 8, 7, 6], author=[1, 2, 1, 3])
    assert order(Rules(pins={"3": 1}), candidates) == [3, 0, 1, 2]
    # the pinned item of author 1 stands third: no other of theirs may be second
    rules = Rules(pins={"2": 3}, caps=(Cap(most=1, window=2),))
    assert order(rules, candidates) == [0, 1, 2, 3]
    second = Rules(pins={"2": 2}, caps=(Cap(most=1, window=2),))
    assert order(second, candidates) == [1, 2, 3, 0]


@pytest.mark.parametrize("by", ["tag", ("e0", "e1")])
def test_mmr_prefers_what_is_unlike_the_items_before(by):
    candidates = given([10, 9.9, 5, 0], tag=[1, 1, 2, 3], e0=[1, 1, 0, 0], e1=[0, 0, 1, -1])
    assert order(Rules(mmr=Mmr(by, weight=0.5)), candidates)[:2] == [0, 2]
    assert order(Rules(mmr=Mmr(by, weight=0.0)), candidates) == [0, 1, 2, 3]


def test_mmr_by_category_equals_the_greedy_choice_one_by_one():
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores, tags = rng.random(12), rng.integers(0, 4, 12)
        candidates = given(scores, tag=tags)
        assert order(Rules(mmr=Mmr("tag", 0.3, 12)), candidates) == greedy(scores, tags, 0.3)


def greedy(scores, tags, weight):
    relevance = (scores - scores.min()) / (scores.max() - scores.min())
    left, chosen = list(np.argsort(-scores)), []
    while left:
        keys = [
            (1 - weight) * relevance[i]
            - weight * any(tags[i] == tags[j] and tags[i] for j in chosen)
            for i in left
        ]
        chosen.append(left.pop(int(np.argmax(keys))))
    return [int(i) for i in chosen]


def test_notes_say_what_moved_an_item():
    rules = Rules(decay=(Decay(),), pins={"2": 1})
    notes = rerank(rules, given([10, 9, 1], author=[1, 1, 2]), told=True).notes
    assert notes[1] == ["decay by author: 9 -> 4.5", "caps, fresh or pins: place 2 -> 3"]
    assert notes[2] == ["caps, fresh or pins: place 3 -> 1"]


@LIMITS
@given_by(cases())
def test_what_slots_move_is_counted_where_nothing_else_moves_anything(case):
    rules, candidates = case
    rules = replace(rules, decay=(), mmr=None)
    found = rerank(rules, candidates)
    elsewhere = int((found.order != candidates.order).sum())
    assert found.moved == ({"slots": elsewhere} if elsewhere else {})
