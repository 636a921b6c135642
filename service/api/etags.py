"""Plan versions as ETags: which version a write means to replace. Knows headers, no store."""

import re
from dataclasses import dataclass

from starlette.requests import Request

from service.errors import EtagMismatch, EtagMissing, Fault, MalformedHeader

_ETAG = re.compile(r'(W/)?"([^"]*)"')
_VERSION = re.compile(r"v([1-9][0-9]{0,17})")
_HINT = (
    'send If-Match: "v<version>", quotes included (the ETag of GET), If-Match: * for whatever is'
    " live, or If-None-Match: * for a scene without plan"
)


def etag(version: int) -> str:
    """The ETag of a plan version."""
    return f'"v{version}"'


@dataclass(frozen=True)
class Precondition:
    """What the live version must be. `absent`: there must be none. `versions` None: any will do.

    `weak`: a weak ETag was among those named, and is not among `versions`.
    """

    absent: bool = False
    versions: frozenset[int] | None = None
    weak: bool = False

    def check(self, scene: str, live: int | None) -> None:
        """Compare with the live version.

        Raises:
            EtagMismatch: the live version is another; the problem and its `ETag` name it.
        """
        if self.absent:
            holds, wanted = live is None, "no plan"
        elif self.versions is None:
            holds, wanted = live is not None, "a plan"
        else:
            holds = live in self.versions
            wanted = " or ".join(etag(v) for v in sorted(self.versions))
            wanted = wanted or ("a weak ETag" if self.weak else "an older plan")
        if not holds:
            now = "it has none" if live is None else f"{etag(live)} is live"
            hint = f"; weak ETags (W/) never match: {_HINT}" if self.weak else ""
            raise EtagMismatch(
                f"scene {scene!r}: the request expects {wanted}, but {now}{hint}",
                headers={} if live is None else {"etag": etag(live)},
                more={"version": live},
            )

    @property
    def follows_live(self) -> bool:
        """Whether a version published meanwhile is as good as the one that was read."""
        return not self.absent and self.versions is None


def read_precondition(request: Request, *, required: bool = True) -> Precondition:
    """The precondition of a write. Weak ETags never match (RFC 9110 §13.1.1).

    Raises:
        EtagMissing: neither header, where one is required.
        MalformedHeader: both headers, or one that is no list of ETags.
    """
    matches = ", ".join(request.headers.getlist("if-match")).strip()
    none_matches = ", ".join(request.headers.getlist("if-none-match")).strip()
    if matches and none_matches:
        raise _malformed("If-Match", "If-Match and If-None-Match exclude each other")
    if none_matches:
        if none_matches != "*":
            raise _malformed("If-None-Match", f"If-None-Match: only * is understood; {_HINT}")
        return Precondition(absent=True)
    if not matches:
        if required:
            raise EtagMissing(_HINT)
        return Precondition()
    if matches == "*":
        return Precondition()
    versions, weak = set(), False
    for text in matches.split(","):
        tag = _ETAG.fullmatch(text.strip())
        if tag is None:
            raise _malformed("If-Match", f"If-Match: {text.strip()[:40]!r} is no ETag; {_HINT}")
        version = _VERSION.fullmatch(tag[2])
        if tag[1] is not None:
            weak = True
        elif version is not None:
            versions.add(int(version[1]))
    return Precondition(versions=frozenset(versions), weak=weak)


def _malformed(header: str, detail: str) -> MalformedHeader:
    return MalformedHeader(detail, faults=[Fault(detail, header=header)])
