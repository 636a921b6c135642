"""Drawn requests follow the schema: the service takes them, encoding defaults nothing inline."""

import orjson
import pytest

from loadtest.drawn_requests import FORMS, Form, RequestDrawer
from service.api.messages import RankRequest
from service.contract.encode import Counts, encode_request
from service.contract.features import Lookup
from tests.contract.schemas import FULL


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("candidates", [1, 50, 500])
def test_a_request_has_that_many_different_candidates(form: Form, candidates: int) -> None:
    request = RequestDrawer("demo", FULL, seed=1).request(form, candidates)
    message = RankRequest.model_validate_json(request.body)
    assert message.candidates is not None
    assert len(set(message.candidates.ids)) == candidates == request.candidates
    for column in (message.candidates.features or {}).values():
        assert len(column) == candidates


def test_the_inline_form_leaves_only_lookups_to_defaults() -> None:
    message = orjson.loads(RequestDrawer("demo", FULL, seed=1).request("columns", 3).body)
    user = message["user"]["features"] | {FULL.user_id_feature: message["user"]["id"]}
    items = message["candidates"]["features"] | {FULL.item_id_feature: message["candidates"]["ids"]}
    counts = Counts()
    encode_request(FULL, user, message["context"], items, 3, counts)
    keys = {f.key for f in FULL if isinstance(f, Lookup)} | {
        f.source for f in FULL if isinstance(f, Lookup)
    }
    assert counts.defaulted.keys() <= keys
    assert not counts.unknown


def test_the_same_seed_draws_the_same_bytes() -> None:
    first, second = (RequestDrawer("demo", FULL, seed=7).request("columns", 20) for _ in range(2))
    assert first == second
