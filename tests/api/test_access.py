import pytest
from starlette.requests import Request

from service.api.access import require_token
from service.errors import TokenMissing, TokenWrong


def request(authorization: bytes | None) -> Request:
    headers = [] if authorization is None else [(b"authorization", authorization)]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize("given", [b"Bearer secret", b"bearer secret", b" BEARER   secret "])
def test_the_token_opens_whatever_the_case_of_the_scheme(given):
    require_token(request(given), "secret")


@pytest.mark.parametrize("given", [None, b"", b"Bearer", b"Bearer ", b"Basic secret", b"secret"])
def test_without_a_bearer_token_the_caller_is_told_to_send_one(given):
    with pytest.raises(TokenMissing, match=r"Authorization: Bearer \$FINERANK_TOKEN") as refusal:
        require_token(request(given), "secret")
    assert refusal.value.detail.endswith(
        "; this service's is what FINERANK_TOKEN said when it started,"
        " or else in the file token of its state directory"
    )
    assert refusal.value.headers == {"www-authenticate": 'Bearer realm="finerank"'}


@pytest.mark.parametrize("given", [b"Bearer Secret", b"Bearer secret2", b"Bearer s\xe9cret"])
def test_another_token_is_refused(given):
    with pytest.raises(TokenWrong, match="the bearer token is wrong"):
        require_token(request(given), "secret")
