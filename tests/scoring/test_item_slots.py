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
    with slots.room(len(ids)) as room:
        slots.own(lease, range(len(room.slots)), room, for_s)
    return room.slots.tolist()


def test_room_that_is_being_written_to_is_given_to_nobody_else(clock: Clock) -> None:
    slots = ItemSlots(4, clock)
    with slots.room(3) as first, slots.room(3) as second, slots.room(1) as third:
        found = [room.slots.tolist() for room in (first, second, third)]
    assert found == [[0, 1, 2], [3], []]
    assert slots.in_use == 4


def test_room_stays_its_writers_however_long_the_process_stands_still(clock: Clock) -> None:
    slots = ItemSlots(3, clock)
    lease = slots.look_up("feed", ["a", "b"])
    with slots.room(2) as room:
        clock.now += 3600
        with slots.room(3) as other:
            assert other.slots.tolist() == [2]
        slots.own(lease, [0, 1], room, 60.0)
    assert slots.look_up("feed", ["a", "b"]).slots.tolist() == [0, 1]
    clock.now += 10
    assert own(slots, ["c", "d"]) == [2]
    clock.now += 1
    assert own(slots, ["e", "f"]) == [0, 1]


def fail(slots: ItemSlots, ids: list[str], rows: list[int], used_at: dict[str, float]) -> None:
    lease = slots.look_up("feed", ids)
    with slots.room(len(ids)) as room:
        slots.own(lease, rows, room, 60.0, used_at)


def test_room_that_its_writer_leaves_unwritten_is_given_to_the_next(clock: Clock) -> None:
    slots = ItemSlots(2, clock)
    with pytest.raises(MemoryError), slots.room(2):
        raise MemoryError
    assert own(slots, ["a", "b"]) == [0, 1]
    clock.now += 11
    with pytest.raises(MemoryError), slots.room(1):
        raise MemoryError
    assert slots.look_up("feed", ["a", "b"]).slots.tolist() == [-1, 1]
    assert own(slots, ["c"]) == [0], "at once: nobody was told of it"


@pytest.mark.parametrize(
    ("rows", "used_at", "error"),
    [([0], {"a": 1.0, "b": 1.0}, ValueError), ([0, 1], {"a": 1.0}, KeyError)],
)
def test_who_cannot_own_its_room_owns_nothing_of_it(
    clock: Clock, rows: list[int], used_at: dict[str, float], error: type[Exception]
) -> None:
    slots = ItemSlots(2, clock)
    with pytest.raises(error):
        fail(slots, ["a", "b"], rows, used_at)
    assert slots.look_up("feed", ["a", "b"]).slots.tolist() == [-1, -1]
    assert slots.used_at("feed") == {}
    assert own(slots, ["c", "d"]) == [0, 1]


def test_room_that_was_owned_is_another_writers_when_the_first_leaves_late(clock: Clock) -> None:
    slots = ItemSlots(1, clock)
    lease = slots.look_up("feed", ["a"])
    with slots.room(1) as first:
        slots.own(lease, [0], first, 60.0)
        clock.now += 3600
        second = slots.room(1)
        assert second.__enter__().slots.tolist() == [0]
    with slots.room(1) as third:
        assert third.slots.tolist() == []
    second.__exit__(None, None, None)
    assert own(slots, ["b"]) == [0]


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
    with slots.room(2) as room:
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
    with slots.room(2) as room:
        slots.own(lease, [0, 1], room, float("inf"))
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
