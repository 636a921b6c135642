"""Items told apart by their encoded rows, and which of them come again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.contract.features import Categorical, FeatureSchema, Numeric
from service.scoring.contents import Repeats, contents

WORDS = st.integers(0, 3)
FLOATS = st.sampled_from([0.0, -0.0, 1.5, np.nan, np.inf, -np.inf, 1e-45])
WIDTHS = st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(any)


def schema(ids: int, values: int) -> FeatureSchema:
    """Of that many item ids and item values, and something of the user."""
    words = [Categorical(name=f"c{n}", side="item", hash_buckets=9) for n in range(ids)]
    numbers = [Numeric(name=f"n{n}", side="item", default=0.0) for n in range(values)]
    return FeatureSchema(features=(Numeric(name="age", side="user", default=0.0), *words, *numbers))


@given(st.data(), WIDTHS)
def test_two_items_share_a_content_when_all_their_bits_are_the_same(
    data: st.DataObject, widths: tuple[int, int]
) -> None:
    ids, values = widths
    row = st.tuples(st.tuples(*[WORDS] * ids), st.tuples(*[FLOATS] * values))
    rows = data.draw(st.lists(row, min_size=1, max_size=40))
    blocks = {"user_values": np.ones((1, 1), np.float32)}
    if ids:
        blocks["item_ids"] = np.array([first for first, _ in rows], np.int32)
    if values:
        blocks["item_values"] = np.array([second for _, second in rows], np.float32)
    items = [block for name, block in blocks.items() if name.startswith("item")]
    bits = [b"".join(block[at].tobytes() for block in items) for at in range(len(rows))]
    found = contents(schema(ids, values), blocks).tolist()
    assert [found.index(key) for key in found] == [bits.index(one) for one in bits]


def some(*shape: int, seed: int = 0) -> NDArray[np.int64]:
    """Made-up contents."""
    return np.random.default_rng(seed).integers(-(1 << 63), 1 << 63, size=shape)


def test_what_comes_again_is_known_after_as_many_others_as_fit() -> None:
    repeats, first, others = Repeats(1000), some(100), some(21, 1000, seed=1)
    assert not repeats.again(first).any()
    assert np.count_nonzero(repeats.again(first)) > 90
    assert np.count_nonzero(repeats.again(others[0])) == 0
    assert np.count_nonzero(repeats.again(first)) > 30
    for keys in others[1:]:
        repeats.again(keys)
    assert np.count_nonzero(repeats.again(first)) < 10


def test_those_that_come_in_turns_are_all_known_in_the_end() -> None:
    repeats, turns = Repeats(1000), list(some(10, 100))
    for _ in range(100):
        turns = [keys[~repeats.again(keys)] for keys in turns]  # who is known is kept
    assert sum(map(len, turns)) == 0
