"""Bodies are what the service takes, carry what the store holds, and follow from their seed."""

import orjson
import pytest

from loadtest.catalogue import SCENE, Catalogue
from loadtest.traffic import FORMS, MIXED, make_bodies
from service.api.decoding import decode_rank

SMALL = Catalogue(items=300, users=7, vocabulary=50)


@pytest.mark.parametrize("form", FORMS)
def test_the_service_accepts_every_form(form: str) -> None:
    (body,) = make_bodies(SMALL, form, 20, count=1, seed=1)
    decode_rank(body.content, max_candidates=20)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(form: str) -> None:
    bodies = make_bodies(SMALL, form, 20, count=3, seed=1)
    assert bodies == make_bodies(SMALL, form, 20, count=3, seed=1)
    assert bodies != make_bodies(SMALL, form, 20, count=3, seed=2)
    assert len({body.content for body in bodies}) == 3


def test_forms_say_the_same_of_the_same_items() -> None:
    ids, columns, rows = (
        orjson.loads(make_bodies(SMALL, form, 20, count=1, seed=1)[0].content)
        for form in ("ids", "columns", "rows")
    )
    listed = columns["candidates"]["features"]
    assert ids["candidates"]["ids"] == columns["candidates"]["ids"]
    assert columns["user"] == rows["user"]
    assert rows["items"] == [
        {"id": id_, "features": {name: column[at] for name, column in listed.items()}}
        for at, id_ in enumerate(columns["candidates"]["ids"])
    ]
    for item in rows["items"]:
        assert item["features"] == SMALL.item(int(item["id"].removeprefix("item_")))


def test_new_columns_give_an_item_other_dense_values_in_every_request() -> None:
    few = Catalogue(items=20, users=7, vocabulary=50)
    first, second = (
        orjson.loads(body.content)["candidates"]
        for body in make_bodies(few, "new-columns", 20, count=2, seed=1)
    )
    by_id = [
        dict(zip(c["ids"], zip(*c["features"].values(), strict=True), strict=True))
        for c in (first, second)
    ]
    assert by_id[0].keys() == by_id[1].keys()
    for id_, values in by_id[0].items():
        assert values[:20] == by_id[1][id_][:20]
        assert values[20:] != by_id[1][id_][20:]


def test_a_body_carries_every_feature_of_the_model() -> None:
    (body,) = make_bodies(SMALL, "columns", 20, count=1, seed=1)
    message = orjson.loads(body.content)
    assert set(message["user"]["features"]) == {f"u_{n}" for n in range(20)}
    assert set(message["candidates"]["features"]) == {
        *(f"cat_{n}" for n in range(20)),
        *(f"d_{n}" for n in range(8)),
    }
    assert message["scene"] == SCENE


def test_a_mix_has_its_sizes_and_states_them() -> None:
    catalogue = Catalogue(items=1_000, users=7, vocabulary=50)
    bodies = make_bodies(catalogue, "ids", MIXED, count=200, seed=1)
    assert {body.candidates for body in bodies} == set(MIXED)
    for body in bodies:
        ids = orjson.loads(body.content)["candidates"]["ids"]
        assert len(ids) == len(set(ids)) == body.candidates


def test_a_limit_is_sent_only_when_asked_for() -> None:
    (plain,) = make_bodies(SMALL, "ids", 20, count=1, seed=1)
    (limited,) = make_bodies(SMALL, "ids", 20, count=1, seed=1, limit=5)
    assert "limit" not in orjson.loads(plain.content)
    assert orjson.loads(limited.content)["limit"] == 5
