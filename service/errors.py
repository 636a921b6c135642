"""The error family: every way a request can be refused, with the words a caller sees.

A class says what kind of refusal it is (status, code, title); an instance says what is wrong with
this request, in a sentence with the values, and where. HTTP rendering is `api/problems.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class Fault:
    """One thing wrong at one place: a JSON pointer (RFC 6901) into the body, or a header."""

    detail: str
    pointer: str | None = None
    header: str | None = None
    more: Mapping[str, object] = field(default_factory=dict)  # line, column, caret, severity


class ServiceError(Exception):
    """A refusal. `code` is stable and ends the problem's `type`; a code has one `title`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something broke inside the service"

    def __init__(
        self,
        detail: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        self.more = dict(more or {})


class MalformedJson(ServiceError):
    """The body is no JSON document, or holds a number that JSON or a double cannot hold."""

    status, code, title = 400, "malformed-json", "The body is not usable JSON"


class MalformedHeader(ServiceError):
    """A header that this service reads has a value it cannot mean."""

    status, code, title = 400, "malformed-header", "A request header is malformed"


class MalformedQuery(ServiceError):
    """A query parameter has a value it cannot mean."""

    status, code, title = 400, "malformed-query", "A query parameter is malformed"


class TokenMissing(ServiceError):
    """A write without a bearer token."""

    status, code, title = 401, "token-missing", "A write needs the bearer token"


class TokenWrong(ServiceError):
    """A write with a token that is not this service's."""

    status, code, title = 403, "token-wrong", "The bearer token is not this service's"


class PlanUnsigned(ServiceError):
    """A plan that the key of this service has not signed."""

    status, code, title = 403, "plan-unsigned", "The plan is not signed with this service's key"


class BodyTooSlow(ServiceError):
    """A body that does not come to its end."""

    status, code, title = 408, "body-too-slow", "The body did not arrive in time"


class UnknownScene(ServiceError):
    """A scene of a URL that has no plan."""

    status, code, title = 404, "unknown-scene", "The scene has no plan"


class UnknownModel(ServiceError):
    """A model, version or alias that is not there."""

    status, code, title = 404, "unknown-model", "There is no such model"


class NoVersionBefore(ServiceError):
    """An alias that is to go back, and never came from another version."""

    status, code, title = 409, "no-version-before", "There is no version to go back to"


class UnknownVersion(ServiceError):
    """A plan version that the store does not hold."""

    status, code, title = 404, "unknown-version", "There is no such version"


class AliasMoved(ServiceError):
    """Somebody else moved the alias meanwhile."""

    status, code, title = 409, "alias-moved", "The alias points elsewhere by now"


class EtagMismatch(ServiceError):
    """The plan has moved on since the caller read it."""

    status, code, title = 412, "etag-mismatch", "The plan is not at the version the caller expects"


class BodyTooLarge(ServiceError):
    """More bytes than a request may have."""

    status, code, title = 413, "body-too-large", "The body is too large"


class BodyEncoded(ServiceError):
    """A body in an encoding that is not read."""

    status, code, title = 415, "body-encoded", "The body has an encoding that is not read"


class InvalidRequest(ServiceError):
    """The body is JSON, and breaks a rule of the request form."""

    status, code, title = 422, "invalid-request", "The request breaks a rule of its form"


class PlanRefused(ServiceError):
    """A plan with findings that are errors."""

    status, code, title = 422, "plan-refused", "The plan cannot be used"


class ModelRefused(ServiceError):
    """A package that does not pass a gate; what serves goes on serving."""

    status, code, title = 422, "model-refused", "The model cannot serve"


class EtagMissing(ServiceError):
    """A plan write that does not say which version it replaces."""

    status, code, title = 428, "etag-missing", "A plan write needs If-Match or If-None-Match"


class NotRanking(ServiceError):
    """The scene has a plan, and this replica cannot rank it now."""

    status, code, title = 503, "not-ranking", "The scene cannot rank on this replica"


class TooBusy(ServiceError):
    """The work accepted so far leaves no time for one more request."""

    status, code, title = 503, "overloaded", "The service has as much work as it can do in time"


class NothingScored(ServiceError):
    """No candidate was scored in time, and the plan wants no answer in input order then."""

    status, code, title = 503, "nothing-scored", "No candidate could be scored in time"


class InferenceFailed(ServiceError):
    """A raw model run that ended without heads."""

    status, code, title = 503, "inference-failed", "The model gave no answer"


class StoreDown(ServiceError):
    """A plan route needs the store, and the store does not answer."""

    status, code, title = 503, "store-down", "The plan store does not answer"
