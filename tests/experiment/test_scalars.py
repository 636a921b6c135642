"""Request-wide numbers: what may be named, and what an absent or wrong value is."""

import math

import pytest

from service.contract.features import Categorical, FeatureSchema
from service.experiment.scalars import read_scalars, scalar_defaults, scalar_ranges, to_number
from tests.experiment.packages import schema


def test_numeric_features_and_number_vocabularies_of_user_and_context_are_scalars():
    # user_id has a vocabulary of numbers too; city has words, and videolen_s is an item's
    defaults = scalar_defaults(schema())
    assert sorted(defaults) == ["context.hour", "user.age", "user.user_id"]
    assert (defaults["user.age"], defaults["context.hour"]) == (30.0, 8.0)
    assert math.isnan(defaults["user.user_id"])


def test_values_are_read_from_their_side_and_defaults_fill_the_rest():
    defaults = {"user.age": 30.0, "context.hour": 8.0}
    assert read_scalars(defaults, {"age": 41, "hour": 1}, {"hour": "20", "age": 2}) == {
        "user.age": 41.0,
        "context.hour": 20.0,
    }
    assert read_scalars(defaults, {}, {"hour": None}) == defaults


@pytest.mark.parametrize("raw", ["noon", [8], {}, None, 10**400])
def test_what_is_no_number_is_nan(raw: object):
    assert math.isnan(to_number(raw))


def test_the_range_of_a_scalar_is_that_of_its_vocabulary():
    ranges = scalar_ranges(schema())
    assert {name: span for name, (_, span) in ranges.items() if span} == {
        "context.hour": (8.0, 20.0),
        "user.user_id": (99.0, 712.0),
    }
    assert ranges["user.age"] == (30.0, None)


@pytest.mark.parametrize("word", ["inf", "nan", "1e999", "noon"])
def test_a_vocabulary_with_one_word_that_is_no_finite_number_is_no_scalar(word: str):
    words = (*map(str, range(5_000)), word)
    hour = Categorical(name="hour", side="context", vocabulary=words)
    assert scalar_ranges(FeatureSchema(features=(hour,))) == {}


def test_the_range_of_a_large_vocabulary_is_that_of_all_its_words():
    words = ("17", *map(str, range(20, 9_000)), "-3", "9")
    hour = Categorical(name="hour", side="context", vocabulary=words, default="20")
    assert scalar_ranges(FeatureSchema(features=(hour,))) == {
        "context.hour": (20.0, (-3.0, 8999.0))
    }
