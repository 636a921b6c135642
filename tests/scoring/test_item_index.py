"""The item index against a dict, with room for all items and without."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.scoring.item_index import ABSENT, ItemIndex

SCENES = ("feed", "home")
SOME = st.lists(st.integers(0, 60).map(str), unique=True, max_size=40)
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "drop", "clear"]), st.sampled_from(SCENES), SOME)
)


@given(STEPS, st.sampled_from([2, 1000]))
def test_the_index_holds_what_a_dict_holds_less_what_it_says_is_lost(
    steps: list[tuple[str, str, list[str]]], slots: int
) -> None:
    index, oracle, slot = ItemIndex(slots), dict[tuple[str, str], int](), 0
    for what, scene, ids in steps:
        if what == "put":
            given_now = np.arange(slot, slot + len(ids))
            slot += len(ids)
            lost = index.put(scene, ids, given_now).tolist()
            replaced = [oracle[scene, id_] for id_ in ids if (scene, id_) in oracle]
            oracle.update(zip([(scene, id_) for id_ in ids], given_now.tolist(), strict=True))
            assert set(replaced) <= set(lost)
            assert len(lost) == len(set(lost))
            assert slots == 2 or sorted(lost) == sorted(replaced)
            oracle = {key: at for key, at in oracle.items() if at not in lost}
        elif what == "drop":
            gone = [oracle.pop((scene, id_)) for id_ in ids if (scene, id_) in oracle]
            assert sorted(index.drop(scene, ids).tolist()) == sorted(gone)
        else:
            index.clear()
            oracle.clear()
        for one in SCENES:
            everything = [str(n) for n in range(61)]
            expected = [oracle.get((one, id_), ABSENT) for id_ in everything]
            assert index.find(one, everything).tolist() == expected


def test_a_full_cache_loses_next_to_nothing() -> None:
    index = ItemIndex(80_000)
    ids = [f"item_{n}" for n in range(80_000)]
    lost = index.put("feed", ids, np.arange(80_000))
    assert len(lost) < 80
    missing = index.find("feed", ids) == ABSENT
    assert sorted(lost.tolist()) == np.flatnonzero(missing).tolist()


def test_items_that_are_named_like_scenes_are_told_apart() -> None:
    index, names = ItemIndex(8), ["feed", "home"]
    index.put("feed", names, np.array([1, 2]))
    assert index.find("home", names).tolist() == [ABSENT, ABSENT]
    assert index.find("feed", names).tolist() == [1, 2]


def test_one_item_takes_and_leaves_its_place_without_a_copy_of_the_table() -> None:
    index = ItemIndex(1_000_000)
    tracemalloc.start()
    try:
        index.put("feed", ["a"], np.array([7]))
        index.drop("feed", ["a"])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 100_000, "bytes; the table has some 67 million"
