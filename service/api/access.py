"""Who may write: the bearer token of this service, compared in constant time."""

import hmac

from starlette.requests import Request

from service.errors import TokenMissing, TokenWrong

_CHALLENGE = {"www-authenticate": 'Bearer realm="finerank"'}


def require_token(request: Request, token: str) -> None:
    """Let the request pass if it carries `Authorization: Bearer <token>`.

    Raises:
        TokenMissing: no such header, or another scheme.
        TokenWrong: another token.
    """
    scheme, _, given = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise TokenMissing(
            "send the write token: Authorization: Bearer $FINERANK_TOKEN", headers=_CHALLENGE
        )
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise TokenWrong(
            "the bearer token is wrong: this service's is what FINERANK_TOKEN said when it started,"
            " or else in the file token of its state directory"
        )
