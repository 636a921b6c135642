"""Plans in Redis: immutable versions, a pointer moved by compare-and-set, an audit stream.

Keys (the braces are literal: a hash tag, so that a scene lies in one cluster slot):
`finerank:{feed}:plan:v:<n>`, `finerank:{feed}:plan:live`, `finerank:{feed}:audit` (stream),
`finerank:{feed}:replicas` (hash), channel `finerank:plans`; and `finerank:scenes` (set), the index
of scenes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import redis

from service.experiment.connection import Client, is_about_a_key, replies
from service.experiment.errors import DamagedPlan, StaleVersion, UnknownVersion

CHANNEL = "finerank:plans"
SCENES = "finerank:scenes"

# KEYS: pointer, audit stream. ARGV: expected version or "", body, prefix of version keys, channel,
# scene, then the audit entry. Compares, picks the next free number (versions only grow, none is
# overwritten), writes, moves the pointer, and tells: all or nothing.
# -> {1, new version} or {0, live version or ""}
_PUBLISH = """
local live = redis.call('GET', KEYS[1]) or ''
if live ~= ARGV[1] then return {0, live} end
local version = (tonumber(live) or 0) + 1
while redis.call('EXISTS', ARGV[3] .. version) == 1 do version = version + 1 end
redis.call('SET', ARGV[3] .. version, ARGV[2])
redis.call('SET', KEYS[1], version)
redis.call('XADD', KEYS[2], '*', 'version', version, 'from', live, unpack(ARGV, 6))
redis.call('PUBLISH', ARGV[4], ARGV[5])
return {1, tostring(version)}
"""


@dataclass(frozen=True)
class StoredPlan:
    """A published document, as it was given, with who published it, why, and when (RFC 3339)."""

    version: int
    plan: Mapping[str, Any]
    author: str
    message: str
    published_at: str
    signature: str = ""  # see `signing`


@dataclass(frozen=True)
class Publication:
    """A line of a scene's history. `replaced`: the version before; `rollback_to`: one repeated."""

    version: int
    replaced: int | None
    rollback_to: int | None
    author: str
    message: str
    published_at: str


@dataclass(frozen=True)
class HistoryPage:
    """Publications, newest first; `next`: what `before` takes for the older ones, None: no more."""

    entries: list[Publication]
    next: str | None


class PlanStore:
    """The plans of all scenes in one Redis. When it is down, every method raises `UNAVAILABLE`.

    Other documents are kept in the same way, under names that start with their `kind`.
    """

    def __init__(self, redis: Client, *, index: str = SCENES, kind: str = "") -> None:
        self._redis, self._index, self._kind = redis, index, kind
        self._publish = redis.register_script(_PUBLISH)

    async def scenes(self) -> list[str]:
        """Scenes that were ever published, sorted."""
        return sorted(map(_text, await self._redis.smembers(self._index)))

    async def live(self, scene: str) -> int | None:
        """The live version of a scene; None when it has no plan."""
        return (await self.live_all([scene]))[scene]

    async def live_all(self, scenes: Sequence[str]) -> dict[str, int | None]:
        """The live version of each scene, in one round trip; 0, which none has, when damaged."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for scene in scenes:
                pipe.get(self._key(scene, "plan:live"))
            found = await replies(pipe)
        return {scene: _pointer(value) for scene, value in zip(scenes, found, strict=True)}

    async def get(self, scene: str, version: int) -> StoredPlan:
        """A version, live or not.

        Raises:
            UnknownVersion: the scene has no such version.
            DamagedPlan: the stored bytes are not what was published.
        """
        what = f"version {version} of scene {scene!r}"
        try:
            body = await self._redis.get(self._key(scene, f"plan:v:{version}"))
        except redis.ResponseError as err:
            if is_about_a_key(err):
                raise DamagedPlan(f"{what} is damaged: {err}") from err
            raise
        if body is None:
            raise UnknownVersion(scene, version)
        return read_body(body, version, what)

    async def publish(
        self,
        scene: str,
        plan: Mapping[str, Any],
        *,
        expected: int | None,
        author: str = "",
        message: str = "",
        rollback_to: int | None = None,
        signature: str = "",
    ) -> int:
        """Make a document the live plan, if `expected` is still live (None: if there is no plan).

        A rollback publishes an old document as a new version; `rollback_to` names the old one.

        Returns:
            The new version.

        Raises:
            StaleVersion: another version is live; nothing was written.
        """
        stored = StoredPlan(0, plan, author, message, _now(), signature)
        entry = {
            "author": author,
            "message": message,
            "published_at": stored.published_at,
            "rollback_to": rollback_to or "",
        }
        # Not in the script, for it has another cluster slot; a scene without a plan does no harm.
        await cast(Any, self._redis.sadd(self._index, scene))
        done, version = await self._publish(
            keys=[self._key(scene, "plan:live"), self._key(scene, "audit")],
            args=[
                "" if expected is None else expected,
                write_body(stored),
                self._key(scene, "plan:v:"),
                CHANNEL,
                scene,
                *(part for pair in entry.items() for part in pair),
            ],
        )
        if not done:
            raise StaleVersion(scene, expected, _int(version))
        return int(version)

    async def history(self, scene: str, limit: int = 100) -> list[Publication]:
        """Publications of a scene, newest first."""
        return (await self.history_page(scene, limit)).entries

    async def history_page(self, scene: str, limit: int, before: str | None = None) -> HistoryPage:
        """The newest publications, or those before the cursor of another page."""
        newest = "+" if before is None else f"({before}"
        found = (
            await self._redis.xrevrange(self._key(scene, "audit"), max=newest, count=limit + 1)
            or []
        )
        entries = [_publication(_texts(entry)) for _, entry in found[:limit]]
        return HistoryPage(
            entries, _text(found[limit - 1][0] or "") if len(found) > limit else None
        )

    async def report(self, scene: str, replica: str, text: str) -> None:
        """Say what a replica runs, or why it refuses."""
        await cast(Any, self._redis.hset(self._key(scene, "replicas"), replica, text))

    async def replicas(self, scene: str) -> dict[str, str]:
        """Replica -> what it said last."""
        found = await cast(Any, self._redis.hgetall(self._key(scene, "replicas")))
        return dict(sorted(_texts(found).items()))

    async def forget(self, scene: str, replica: str) -> None:
        """Take a replica that stops out of the list."""
        await cast(Any, self._redis.hdel(self._key(scene, "replicas"), replica))

    def _key(self, scene: str, rest: str) -> str:
        return f"finerank:{{{self._kind}{scene}}}:{rest}"


def write_body(stored: StoredPlan, **more: Any) -> str:
    """A publication as JSON, with the digest of its document; `version` is not in it, `more` is."""
    return json.dumps(
        {
            "plan": stored.plan,
            "sha256": plan_digest(stored.plan),
            "author": stored.author,
            "message": stored.message,
            "published_at": stored.published_at,
            **({"signature": stored.signature} if stored.signature else {}),
            **more,
        }
    )


def read_body(body: str | bytes, version: int, what: str) -> StoredPlan:
    """The publication in `body`; `what` names it in errors.

    Raises:
        DamagedPlan: no such JSON, or a document whose digest is another.
    """
    try:
        fields = json.loads(body)
        stored = StoredPlan(
            version,
            plan=fields["plan"],
            author=fields["author"],
            message=fields["message"],
            published_at=fields["published_at"],
            signature=fields.get("signature", ""),
        )
        digest = fields["sha256"]
    except (ValueError, KeyError, TypeError) as err:
        raise DamagedPlan(f"{what} is damaged: {type(err).__name__} {err}") from err
    if plan_digest(stored.plan) != digest:
        raise DamagedPlan(f"{what} is damaged: its document does not match its digest")
    return stored


def plan_digest(plan: Mapping[str, Any]) -> str:
    """SHA-256 of a document, whatever its whitespace."""
    return hashlib.sha256(json.dumps(plan, separators=(",", ":")).encode()).hexdigest()


def _publication(entry: Mapping[str, str]) -> Publication:
    return Publication(
        version=int(entry["version"]),
        replaced=_int(entry["from"]),
        rollback_to=_int(entry["rollback_to"]),
        author=entry["author"],
        message=entry["message"],
        published_at=entry["published_at"],
    )


def _pointer(value: object) -> int | None:
    if value is None:
        return None
    return int(value) if isinstance(value, bytes) and value.isdigit() else 0


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _texts(entry: Mapping[Any, Any] | None) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in (entry or {}).items()}


def _int(text: str | bytes) -> int | None:
    return int(text) if text else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
