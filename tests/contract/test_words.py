"""A table of words finds what dictionaries find."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.words import WordTable, words_of

# one to three bytes a character, and lone surrogates, which Python can hold and UTF-8 cannot
short = st.text(st.sampled_from("01aé中\ud800\x01\x7f"), max_size=2)
strings = st.one_of(short, short, st.text(max_size=12), st.sampled_from(["12345678", "123456789"]))


def is_short(text: str) -> bool:
    return len(text.encode(errors="surrogatepass")) <= 8 and "\0" not in text


def ids_of(words: list[str]) -> dict[str, int]:
    return {word: id_ for id_, word in enumerate(words, start=1)}


@settings(max_examples=300)
@given(
    st.lists(strings.filter(is_short), min_size=1, max_size=30, unique=True),
    st.lists(short, min_size=1, max_size=3, unique=True),
    st.lists(strings.filter(lambda s: "\0" not in s), min_size=1, max_size=30),
)
def test_every_string_gets_the_id_of_its_own_vocabulary(
    first: list[str], second: list[str], asked: list[str]
) -> None:
    vocabularies = {"a": ids_of(first), "b": ids_of(second)}
    names = ["b", "a", "b"]
    found = WordTable.of(vocabularies).find(names, words_of(asked * len(names)))
    assert found.tolist() == [vocabularies[name].get(text, 0) for name in names for text in asked]
    assert found.dtype == np.int32


def test_a_vocabulary_with_a_long_word_a_nul_or_nothing_and_a_hashed_one_are_left_out() -> None:
    vocabularies: dict[str, dict[str, int] | int] = {
        "fits": ids_of(["12345678", ""]),
        "long": ids_of(["1", "123456789"]),
        "wide": ids_of(["中中中"]),
        "nul": ids_of(["1", "2\0"]),
        "empty": {},
        "hashed": 50,
    }
    table = WordTable.of(vocabularies)
    assert [name for name in vocabularies if name in table] == ["fits"]


def test_features_that_share_a_vocabulary_share_its_words() -> None:
    vocabulary = ids_of(["x", "y"])
    table = WordTable.of({"a": vocabulary, "b": vocabulary})
    alone = WordTable.of({"a": vocabulary})
    assert table.nbytes == alone.nbytes
    assert table.find(["a", "b"], words_of(["x", "y"])).tolist() == [1, 2]


def test_twenty_thousand_numbers_and_as_many_strangers_are_told_apart() -> None:
    vocabulary = ids_of([str(n) for n in range(20_000)])
    asked = [str(n) for n in range(40_000)]
    found = WordTable.of({"id": vocabulary}).find(["id"], words_of(asked))
    assert found.tolist() == [*range(1, 20_001), *[0] * 20_000]
