"""The schema refuses what it could not encode, and says where every column lands."""

import pytest
from pydantic import TypeAdapter, ValidationError

from service.contract.features import Categorical, Feature, FeatureSchema, Lookup, Numeric
from tests.contract.schemas import FULL


def test_blocks_have_the_width_of_their_features() -> None:
    assert FULL.inputs == {
        "user_ids": ("user", "int32", 1 + 1 + 3),
        "user_values": ("user", "float32", 1),
        "context_ids": ("context", "int32", 1),
        "context_values": ("context", "float32", 2),
        "item_ids": ("item", "int32", 1 + 2),
        "item_values": ("item", "float32", 1),
        "cross_values": ("cross", "float32", 3),
    }


def test_schema_survives_json() -> None:
    assert FeatureSchema.model_validate_json(FULL.model_dump_json()) == FULL


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (
            {"kind": "categorical", "name": "a", "side": "user"},
            "give exactly one of vocabulary, hash_buckets, shares",
        ),
        (
            {"kind": "categorical", "name": "a", "side": "user", "vocabulary": ["x", "x"]},
            "lists a value twice",
        ),
        ({"kind": "numeric", "name": "a", "side": "user"}, "default"),
        ({"kind": "numeric", "name": "1a", "side": "user", "default": 0}, "pattern"),
        ({"kind": "number", "name": "a", "side": "user", "default": 0}, "kind"),
        ({"kind": "numeric", "name": "a", "side": "user", "default": 0, "scale": 2}, "scale"),
    ],
)
def test_wrong_feature_is_refused_with_its_reason(feature: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(Feature).validate_python(feature)


def test_lookup_belongs_to_the_side_its_sides_make() -> None:
    wrong = FULL.by_name["user_author_rates"].model_dump() | {"side": "item"}
    with pytest.raises(ValidationError, match="belongs to side 'cross', not 'item'"):
        Lookup.model_validate(wrong)


def test_schema_refuses_two_features_of_one_name() -> None:
    age = Numeric(name="age", side="user", default=0)
    with pytest.raises(ValidationError, match="features named twice: age"):
        FeatureSchema(features=(age, age))


def test_schema_refuses_sharing_with_what_has_no_vocabulary() -> None:
    with pytest.raises(ValidationError, match="recent shares 'age'"):
        FeatureSchema(
            features=(
                Numeric(name="age", side="user", default=0),
                Categorical(name="recent", side="user", shares="age"),
            )
        )


def test_id_feature_must_exist_on_its_side() -> None:
    with pytest.raises(ValidationError, match="item_id_feature 'user_id' is no item feature"):
        FeatureSchema(features=FULL.features, item_id_feature="user_id")
