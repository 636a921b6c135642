"""Every hash gives what its system publishes; ours is uniform, and layers are independent."""

import hashlib
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2

from service.experiment.hashes import HASHES, fnv1_64, fnv1a_32, growthbook, pairec

IDS = 1_000_000
CERTAIN = 0.999  # quantile of χ²; the ids are fixed, so a pass is a pass for ever


@pytest.mark.parametrize(
    ("seed", "value", "version", "expected"),
    [  # "hash" of cases.json, which every GrowthBook SDK is tested with
        ("", "a", 1, 0.22),
        ("", "b", 1, 0.077),
        ("b", "a", 1, 0.946),
        ("ef", "d", 1, 0.652),
        ("asdf", "8952klfjas09ujk", 1, 0.549),
        ("", "123", 1, 0.011),
        ("", '___)((*":&', 1, 0.563),
        ("seed", "a", 2, 0.0505),
        ("seed", "b", 2, 0.2696),
        ("foo", "ab", 2, 0.2575),
        ("foo", "def", 2, 0.2019),
        ("89123klj", "8952klfjas09ujkasdf", 2, 0.124),
        ("90850943850283058242805", "123", 2, 0.7516),
        ("()**(%$##$%#$#", '___)((*":&', 2, 0.0128),
    ],
)
def test_growthbook_hashes_as_its_published_cases_say(seed, value, version, expected):
    assert growthbook(seed, value, version) == round(expected * 10_000)


def test_a_growthbook_layer_is_a_namespace_and_its_experiments_are_keys():
    hash_ = HASHES["growthbook"]
    assert hash_.bucket("pricing", "712") == growthbook("__pricing", "712", 1)
    assert hash_.arm_slot("pricing", "my-test", "712") == growthbook("my-test", "712", 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0x811C9DC5), ("a", 0xE40C292C), ("b", 0xE70C2DE5), ("foobar", 0xBF9CF968)],
)
def test_fnv_1a_of_32_bits_gives_its_published_vectors(text: str, expected: int):
    assert fnv1a_32(text) == expected


def test_fnv_1a_takes_the_units_that_javascript_takes():
    assert fnv1a_32("é") == ((0x811C9DC5 ^ 0xE9) * 0x01000193) & 0xFFFFFFFF
    pair = 0x811C9DC5
    for unit in (0xD83D, 0xDE00):  # the surrogates of 😀
        pair = ((pair ^ unit) * 0x01000193) & 0xFFFFFFFF
    assert fnv1a_32("😀") == pair


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # of Go's hash/fnv
        (b"", 0xCBF29CE484222325),
        (b"a", 0xAF63BD4C8601B7BE),
        (b"ab", 0x08326707B4EB37B8),
        (b"abc", 0xD8DCCA186BAFADCB),
    ],
)
def test_fnv_1_of_64_bits_gives_its_published_vectors(text: bytes, expected: int):
    assert fnv1_64(text) == expected


def test_pairec_hashes_the_md5_of_its_keys():
    hash_ = HASHES["pairec"]
    key = b"1034416388_EXPROOM12_LAYER34_EXPGROUP56"
    value = fnv1_64(hashlib.md5(key, usedforsecurity=False).digest()) % 100
    assert hash_.arm_slot("EXPROOM12_LAYER34", "EXPGROUP56", "1034416388") == value * 100
    assert hash_.bucket("EXPROOM12_LAYER34", "7") == pairec("7_EXPROOM12_LAYER34")


@cache
def slots(salt: str, seed: str | None = None) -> NDArray[np.int64]:
    hash_ = HASHES["finerank"]
    units = map(str, range(IDS))
    if seed is None:
        return np.fromiter((hash_.bucket(salt, unit) for unit in units), np.int64, IDS)
    return np.fromiter((hash_.arm_slot(salt, seed, unit) for unit in units), np.int64, IDS)


def statistic(counts: NDArray[np.int64]) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


def test_a_million_ids_fill_every_bucket_alike():
    counts = np.bincount(slots("fusion-2026-11"), minlength=10_000)
    assert counts.size == 10_000
    assert statistic(counts) < chi2.ppf(CERTAIN, 9_999)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("fusion-2026-11", None), ("rerank-2026-11", None)),  # two layers
        (("fusion-2026-11", None), ("fusion-2026-11", "vcr-up")),  # a layer and the arms in it
        (("fusion-2026-11", "vcr-up"), ("rerank-2026-11", None)),
    ],
)
def test_layers_and_arms_are_independent_over_a_million_ids(one, other):
    cells = slots(*one) // 100 * 100 + slots(*other) // 100
    assert statistic(np.bincount(cells, minlength=10_000)) < chi2.ppf(CERTAIN, 9_999)
