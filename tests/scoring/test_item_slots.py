"""Slots alone: nobody is given what another holds, may still read, or is writing to."""

import numpy as np
import pytest

from service.scoring.errors import RunFailed
from service.scoring.item_slots import ItemSlots
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def own(slots: ItemSlots, ids: list[str], for_s: float = 60.0) -> list[int]:
    lease = slots.look_up("feed", ids)
    found = slots.room(len(ids))
    slots.own(lease, range(len(found)), found, for_s)
    return found.tolist()


def test_room_that_is_being_written_to_is_given_to_nobody_else(clock: Clock) -> None:
    slots = ItemSlots(4, clock)
    first, second, third = slots.room(3), slots.room(3), slots.room(1)
    assert (first.tolist(), second.tolist(), third.tolist()) == ([0, 1, 2], [3], [])
    assert slots.in_use == 4


def test_room_stays_its_writers_however_long_the_process_stands_still(clock: Clock) -> None:
    slots = ItemSlots(3, clock)
    lease = slots.look_up("feed", ["a", "b"])
    room = slots.room(2)
    clock.now += 3600
    assert slots.room(3).tolist() == [2]
    slots.own(lease, [0, 1], room, 60.0)
    assert slots.look_up("feed", ["a", "b"]).slots.tolist() == [0, 1]
    clock.now += 10
    assert own(slots, ["c", "d"]) == []
    clock.now += 1
    assert own(slots, ["c", "d"]) == [0, 1]


def test_the_slots_unused_for_longest_are_taken_away(clock: Clock) -> None:
    slots = ItemSlots(3, clock)
    for id_ in ("a", "b", "c"):
        own(slots, [id_])
        clock.now += 11
    slots.look_up("feed", ["a"])
    clock.now += 11
    assert own(slots, ["d", "e"]) == [1, 2]
    assert slots.look_up("feed", ["a", "b", "c", "d", "e"]).slots.tolist() == [0, -1, -1, 1, 2]


def test_a_slot_of_an_item_that_changed_meanwhile_has_no_owner(clock: Clock) -> None:
    slots = ItemSlots(2, clock)
    lease = slots.look_up("feed", ["a", "b"])
    room = slots.room(2)
    slots.forget("feed", ["a"])
    slots.own(lease, [0, 1], room, 60.0)
    assert slots.look_up("feed", ["a", "b"]).slots.tolist() == [-1, 1]
    assert list(slots.used_at("feed")) == ["b"]
    clock.now += 11
    assert own(slots, ["c", "d"]) == [0, 1]


def test_numbers_are_held_like_ids_and_make_room_like_them(clock: Clock) -> None:
    slots, numbers = ItemSlots(2, clock), np.array([3 << 61, -5 << 60])
    lease = slots.look_up("feed", numbers)
    assert lease.found == 0
    slots.own(lease, [0, 1], slots.room(2), float("inf"))
    clock.now += 1e6
    assert slots.look_up("feed", numbers[::-1]).slots.tolist() == [1, 0]
    clock.now += 11
    own(slots, ["a"])
    assert slots.look_up("feed", numbers).missing_ids == [3 << 61]


def test_what_was_found_too_long_ago_is_not_read(clock: Clock) -> None:
    slots = ItemSlots(2, clock)
    lease = slots.look_up("feed", ["a"])
    clock.now += 10
    slots.check(lease)
    clock.now += 0.1
    with pytest.raises(RunFailed, match="an item may have left the cache while its request was"):
        slots.check(lease)
