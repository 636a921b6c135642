"""The item cache alone: what is found, what makes room, what is never mixed up."""

from contextlib import ExitStack, suppress
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.features import Attribute, FeatureSchema, Numeric
from service.scoring.errors import RunFailed
from service.scoring.item_cache import ItemCache, Items
from service.scoring.item_slots import Lease
from tests.clock import Clock
from tests.scoring.graphs import SCHEMA

WIDTH = 6


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(clock: Clock, slots: int = 100, ttl_s: float = 60.0) -> ItemCache:
    bytes_a_slot = ItemCache(SCHEMA, WIDTH, max_bytes=0, ttl_s=1, clock=clock).slot_bytes
    return ItemCache(SCHEMA, WIDTH, max_bytes=slots * bytes_a_slot, ttl_s=ttl_s, clock=clock)


def items(ids: list[str], version: int = 0) -> Items:
    """Made-up items whose numbers tell id and version."""
    numbers = np.array([int(id_) for id_ in ids], np.float64) + 1000 * version
    return Items(
        part=np.repeat(numbers[:, None], WIDTH, 1).astype(np.float32),
        attributes={"videolen_s": numbers, "price": -numbers},
        raw={"author_id": [f"a{n:g}" for n in numbers]},
        categories=numbers[:, None].astype(np.int32),
    )


def keep(cache: ItemCache, ids: list[str], version: int = 0, scene: str = "feed") -> None:
    lease = cache.look_up(scene, ids)
    missing = lease.missing_ids
    cache.keep(lease, items(missing, version), range(len(missing)))


def read(
    cache: ItemCache, lease: Lease, fresh: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The parts as a run reads them."""
    table, rows = cache.parts(lease, fresh)
    found = table[rows]
    cache.check(lease)
    return found


def held(cache: ItemCache, ids: list[str], scene: str = "feed") -> list[str]:
    missing = cache.look_up(scene, ids).missing_ids
    return [id_ for id_ in ids if id_ not in missing]


def test_what_was_kept_is_found_beside_what_is_fresh(clock: Clock) -> None:
    cache = made(clock)
    keep(cache, ["3", "1"])
    lease = cache.look_up("feed", ["1", "2", "3"])
    assert lease.missing_ids == ["2"]
    fresh = items(["2"])
    np.testing.assert_array_equal(read(cache, lease, fresh.part)[:, 0], [1, 2, 3])
    columns = cache.attributes(lease, fresh.attributes)
    np.testing.assert_array_equal(columns["videolen_s"], [1, 2, 3])
    np.testing.assert_array_equal(columns["price"], [-1, -2, -3])
    assert cache.raw(lease, fresh.raw) == {"author_id": ["a1", "a2", "a3"]}
    categories = cache.categories(lease, fresh.categories)
    assert {name: ids.tolist() for name, ids in categories.items()} == {"author_id": [1, 2, 3]}


def test_what_is_kept_is_read_where_it_is_kept(clock: Clock) -> None:
    cache = made(clock)
    keep(cache, ["3", "1", "2"])
    tables = [cache.parts(cache.look_up("feed", ids), None)[0] for ids in (["1", "3"], ["2"])]
    assert np.shares_memory(*tables)


def test_a_scene_does_not_find_the_items_of_another(clock: Clock) -> None:
    cache = made(clock)
    keep(cache, ["1"], scene="feed")
    assert held(cache, ["1"], scene="search") == []


def test_items_expire_within_the_ttl_and_not_all_at_once(clock: Clock) -> None:
    cache = made(clock)
    for n in range(50):
        keep(cache, [str(n)])
    ids = [str(n) for n in range(50)]
    clock.now += 47.9
    assert held(cache, ids) == ids
    clock.now += 6
    assert 0 < len(held(cache, ids)) < 50
    clock.now += 6.2
    assert held(cache, ids) == []


def test_the_ids_used_last_come_first(clock: Clock) -> None:
    cache = made(clock)
    for ids in (["1", "2"], ["3"], ["2"]):
        clock.now += 1
        keep(cache, ids)
    assert list(cache.used_at("feed")) == ["2", "3", "1"]


def test_only_the_changed_items_are_forgotten(clock: Clock) -> None:
    cache = made(clock)
    keep(cache, ["1", "2"])
    keep(cache, ["1"], scene="search")
    cache.forget("feed", ["1", "9"])
    assert held(cache, ["1", "2"]) == ["2"]
    assert held(cache, ["1"], scene="search") == ["1"]
    cache.forget_all()
    assert held(cache, ["2"]) == []


def test_a_value_read_before_its_item_changed_is_not_kept(clock: Clock) -> None:
    cache = made(clock)
    one, two, all_ = (cache.look_up("feed", ["1", "2"]) for _ in range(3))
    cache.forget("feed", ["1"])
    cache.keep(one, items(["1", "2"]), [0, 1])
    assert held(cache, ["1", "2"]) == ["2"]
    cache.forget_all()
    cache.keep(all_, items(["1", "2"]), [0, 1])
    assert held(cache, ["1", "2"]) == []
    keep(cache, ["1"], version=1)
    assert held(cache, ["1"]) == ["1"]
    assert two.missing_ids == ["1", "2"]


def test_the_longest_unused_make_room_and_memory_stays_bounded(clock: Clock) -> None:
    cache = made(clock, slots=20)
    keep(cache, [str(n) for n in range(20)])
    clock.now += 11
    assert held(cache, [str(n) for n in range(5)]) == [str(n) for n in range(5)]
    clock.now += 11
    keep(cache, [str(n) for n in range(100, 110)])
    assert held(cache, [str(n) for n in range(5)]) == [str(n) for n in range(5)]
    assert held(cache, [str(n) for n in range(100, 110)]) == [str(n) for n in range(100, 110)]
    assert cache.bytes == 20 * cache.slot_bytes
    assert len(cache.used_at("feed")) == 20


def test_items_that_come_with_their_last_use_leave_in_that_order(clock: Clock) -> None:
    cache = made(clock, slots=20)
    used_at = {str(n): clock.now - 60 - n for n in range(20)}
    for ids in ([str(n) for n in range(10)], [str(n) for n in range(10, 20)]):
        clock.now += 11
        cache.keep(cache.look_up("feed", ids), items(ids), range(10), used_at)
    keep(cache, [str(n) for n in range(100, 105)])
    assert list(cache.used_at("feed"))[5:] == [str(n) for n in range(15)]


def test_what_a_request_found_is_not_given_away_while_it_may_read(clock: Clock) -> None:
    cache = made(clock, slots=4)
    keep(cache, ["1", "2", "3", "4"])
    lease = cache.look_up("feed", ["1", "2", "3", "4"])
    clock.now += 5
    keep(cache, ["5", "6"])
    assert held(cache, ["5", "6"]) == []
    np.testing.assert_array_equal(read(cache, lease)[:, 0], [1, 2, 3, 4])


def test_a_request_that_slept_too_long_fails_instead_of_reading_other_items(clock: Clock) -> None:
    cache = made(clock, slots=4)
    keep(cache, ["1", "2", "3", "4"])
    lease = cache.look_up("feed", ["1", "2"])
    clock.now += 30
    keep(cache, ["5", "6", "7", "8"])
    with pytest.raises(RunFailed, match="an item may have left the cache while its request"):
        read(cache, lease)


def test_an_item_kept_anew_is_found_once_with_its_new_values(clock: Clock) -> None:
    cache = made(clock, slots=8)
    for version in range(3):
        keep(cache, ["1"], version)
        clock.now += 61
    keep(cache, ["1"], 3)
    lease = cache.look_up("feed", ["1"])
    assert read(cache, lease)[0, 0] == 3001
    assert list(cache.used_at("feed")) == ["1"]


def test_rows_that_are_not_certain_are_left_out(clock: Clock) -> None:
    cache = made(clock)
    lease = cache.look_up("feed", ["1", "2", "3"])
    cache.keep(lease, items(["1", "2", "3"]), {2, 0})
    assert held(cache, ["1", "2", "3"]) == ["1", "3"]


def test_only_what_lookups_read_is_kept_raw(clock: Clock) -> None:
    plain = FeatureSchema(
        features=(Numeric(name="price", side="item", default=0.0),),
        attributes=(Attribute(name="price", default=0.0, min=0, max=1),),
    )
    cache = ItemCache(plain, WIDTH, max_bytes=10_000, ttl_s=9, clock=clock)
    assert cache.raw_names == ()
    assert made(clock).raw_names == ("author_id",)


def test_items_that_cannot_be_kept_take_nobodys_place(clock: Clock) -> None:
    cache = made(clock, slots=2)
    lease, known = cache.look_up("feed", ["1", "2"]), items(["1", "2"])
    for _ in range(2):
        with pytest.raises(KeyError, match="price"):
            cache.keep(lease, replace(known, attributes={"videolen_s": np.ones(2)}), [0, 1])
    keep(cache, ["3", "4"])
    assert held(cache, ["1", "2", "3", "4"]) == ["3", "4"]


SPREAD = 0x1E3779B97F4A7C15  # contents are numbers of 64 bits


KEPT = {"first": [1, 2, 3, 4], "second": [5, 6, 7, 8]}


def parts(keys: list[int]) -> NDArray[np.float32]:
    """Made-up parts that tell the key."""
    return np.repeat(np.array(keys, np.float32)[:, None], WIDTH, 1)


def ask(cache: ItemCache, keys: list[int]) -> list[int]:
    """Rank a request of these contents; those that it found."""
    lease = cache.look_up_contents(np.array(keys) * SPREAD)
    missing = [keys[row] for row in lease.missing]
    found = read(cache, lease, parts(missing) if missing else None)
    np.testing.assert_array_equal(found, parts(keys))
    if missing:
        cache.keep_contents(lease, parts(missing))
    return [key for row, key in enumerate(keys) if row not in lease.missing]


def test_contents_are_kept_when_they_come_again_an_eighth_of_a_request_at_once(
    clock: Clock,
) -> None:
    cache, keys = made(clock), list(range(1, 17))
    assert [len(ask(cache, keys)) for _ in range(10)] == [0, 0, 2, 4, 6, 8, 10, 12, 14, 16]
    assert cache.bytes == 16 * cache.slot_bytes
    for n in range(100, 300, 10):
        assert ask(cache, list(range(n, n + 10))) == []
    assert cache.bytes == 16 * cache.slot_bytes


def test_a_content_that_comes_twice_in_a_request_is_kept_once(clock: Clock) -> None:
    cache = made(clock)
    for _ in range(2):
        assert ask(cache, [7] * 16) == []
    assert ask(cache, [7] * 16) == [7] * 16
    assert cache.bytes == cache.slot_bytes


def test_contents_have_no_end_but_the_longest_unused_make_room(clock: Clock) -> None:
    cache = made(clock, slots=4)
    for key in (1, 2, 3):
        for _ in range(2):
            ask(cache, [key])
        clock.now += 100
    assert ask(cache, [1]) == [1]
    clock.now += 100
    keep(cache, ["5", "6"])
    assert ask(cache, [1, 2, 3]) == [1, 3]
    assert held(cache, ["5", "6"]) == ["5", "6"]
    assert cache.bytes == 4 * cache.slot_bytes
    cache.forget_all()
    assert ask(cache, [1, 3]) == []


def test_contents_that_two_threads_keep_across_a_long_pause_are_not_mixed_up(
    clock: Clock,
) -> None:
    cache = made(clock, slots=4)
    keys, rooms = {name: np.array(n) * SPREAD for name, n in KEPT.items()}, {}
    leases = {name: cache.look_up_contents(key) for name, key in keys.items()}
    with ExitStack() as writing:
        for name in KEPT:  # one after the other is given room, and stands still for an hour
            rooms[name] = writing.enter_context(cache._slots.room(4))
            clock.now += 3600
        for name, room in rooms.items():
            rows = list(range(len(room.slots)))
            cache._parts[room.slots] = parts(KEPT[name])[rows]
            cache._slots.own(leases[name], rows, room, float("inf"))
    assert ask(cache, KEPT["first"]) == KEPT["first"]
    assert ask(cache, KEPT["second"]) == []


def test_contents_that_cannot_be_kept_take_nobodys_place(clock: Clock) -> None:
    cache = made(clock, slots=1)
    for _ in range(3):
        lease = cache.look_up_contents(np.array([1]) * SPREAD)
        with suppress(ValueError):
            cache.keep_contents(lease, np.ones((1, WIDTH + 1), np.float32))
    keep(cache, ["2"])
    assert held(cache, ["2"]) == ["2"]


def test_ids_and_contents_are_not_taken_for_one_another(clock: Clock) -> None:
    cache = made(clock)
    keep(cache, ["1", "2"])
    for _ in range(3):
        ask(cache, [2, 3])
    assert ask(cache, [1, 2, 3]) == [2, 3]
    cache.forget("feed", ["1", "3"])
    assert held(cache, ["1", "2", "3"]) == ["2"]
    assert ask(cache, [2, 3]) == [2, 3]
    assert list(cache.used_at("feed")) == ["2"]
