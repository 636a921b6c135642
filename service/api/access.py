"""Who may write: the bearer token of this service, compared in constant time."""

import hmac

from starlette.requests import Request

from service.errors import TokenMissing, TokenWrong

_KEPT = (
    "this service's is what FINERANK_TOKEN said when it started,"
    " or else in the file token of its state directory"
)
_CHALLENGE = {"www-authenticate": 'Bearer realm="finerank"'}


def has_token(request: Request, token: str) -> bool:
    """Whether the request carries `Authorization: Bearer <token>`."""
    given = _given(request)
    return given is not None and _is(given, token)


def require_token(request: Request, token: str) -> None:
    """Let the request pass if it has the token.

    Raises:
        TokenMissing: no such header, or another scheme.
        TokenWrong: another token.
    """
    given = _given(request)
    if given is None:
        raise TokenMissing(
            f"send the write token: Authorization: Bearer $FINERANK_TOKEN; {_KEPT}",
            headers=_CHALLENGE,
        )
    if not _is(given, token):
        raise TokenWrong(f"the bearer token is wrong; {_KEPT}")


def _given(request: Request) -> str | None:
    scheme, _, given = request.headers.get("authorization", "").strip().partition(" ")
    return given.strip() or None if scheme.lower() == "bearer" else None


def _is(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
