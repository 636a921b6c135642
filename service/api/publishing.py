"""From a plan document to a live version: check, load its models, compare-and-set, serve it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from service.api.etags import Precondition, etag
from service.api.json_body import require_sane_numbers
from service.contract.errors import PackageError
from service.errors import (
    EtagMismatch,
    Fault,
    InvalidRequest,
    PlanRefused,
    StoreDown,
    UnknownScene,
    UnknownVersion,
)
from service.experiment.connection import UNAVAILABLE
from service.experiment.document import Plan
from service.experiment.errors import DamagedPlan, PlanInvalid, StaleVersion
from service.experiment.errors import UnknownVersion as NoSuchVersion
from service.experiment.findings import Finding, pointer
from service.experiment.loader import PlanLoader
from service.experiment.plan import parse_plan
from service.experiment.snapshot import Checked
from service.experiment.store import PlanStore, Publication, StoredPlan

_ATTEMPTS = 5  # for a write that takes any live version, when others publish meanwhile
_HISTORY = 1_000

Document = dict[str, Any]
Change = Callable[[StoredPlan], Document]


@dataclass(frozen=True)
class Signature:
    """Who publishes and why, as the audit keeps it."""

    author: str = ""
    message: str = ""


@dataclass(frozen=True)
class Published:
    """A version that is live now, and the warnings it was published with."""

    version: int
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Publisher:
    """Plan changes of one replica.

    `loader` follows the store, and gives the packages that a draft would get; `prepare` loads
    models by "name/version", so that a package that cannot run stops the plan that names it.
    """

    loader: PlanLoader
    prepare: Callable[[frozenset[str]], Awaitable[None]]
    _one_check: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _one_edit: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def store(self) -> PlanStore:
        return self.loader.store

    async def live(self, scene: str) -> int | None:
        with _store_errors():
            return await self.store.live(scene)

    async def read(self, scene: str, version: int | None = None) -> StoredPlan:
        """A version of a scene's plan; the live one when none is named.

        Raises:
            UnknownScene, UnknownVersion, StoreDown: as their names say.
        """
        with _store_errors():
            if version is None:
                version = await self.store.live(scene)
                if version is None:
                    known = ", ".join(await self.store.scenes()) or "none"
                    raise UnknownScene(f"scene {scene!r} has no plan (scenes: {known})")
            return await self.store.get(scene, version)

    async def history(self, scene: str, limit: int) -> list[Publication]:
        with _store_errors():
            return await self.store.history(scene, limit)

    async def check(self, scene: str, document: Any) -> Checked:
        """What publishing a document would find. One at a time: no write waits for these."""
        async with self._one_check:
            return await self._checked(scene, document)

    async def publish(
        self,
        scene: str,
        document: Document,
        expected: int | None,
        signature: Signature,
        rollback_to: int | None = None,
    ) -> Published:
        """Publish a document over the version `expected` (None: as the first one).

        Raises:
            PlanRefused: findings that are errors, or a model that does not load here.
            EtagMismatch: another version is live by now.
        """
        checked = await self._checked(scene, document)
        if checked.snapshot is None:
            raise refusal_of(checked.findings)
        await self._load_models(checked.snapshot.models)
        with _store_errors():
            version = await self.store.publish(
                scene,
                document,
                expected=expected,
                author=signature.author,
                message=signature.message,
                rollback_to=rollback_to,
            )
        await self.loader.refresh()
        return Published(version, checked.findings)

    async def edit(
        self, scene: str, precondition: Precondition, change: Change, signature: Signature
    ) -> Published:
        """Publish a change of the live plan; where any version will do, try again on a newer."""
        async with self._one_edit:
            for _ in range(_ATTEMPTS - 1):
                try:
                    return await self._edit_once(scene, precondition, change, signature)
                except EtagMismatch:
                    if not precondition.follows_live:
                        raise
            return await self._edit_once(scene, precondition, change, signature)

    async def rollback(
        self, scene: str, precondition: Precondition, to: int | None, signature: Signature
    ) -> Published:
        """Publish an old version again; `to` None: what was live before the live plan was."""
        live = await self.read(scene)
        precondition.check(scene, live.version)
        if to is None:
            to = await self._before(scene, live.version)
        old = await self.read(scene, to)
        signature = Signature(signature.author, signature.message or f"rollback to {to}")
        return await self.publish(scene, dict(old.plan), live.version, signature, rollback_to=to)

    async def _checked(self, scene: str, document: Any) -> Checked:
        try:
            plan = _parse(scene, document)
        except PlanInvalid as err:
            return Checked(tuple(err.findings), None)
        with _store_errors():
            models = await self.loader.models(plan)
        return await self.loader.compiling.check(plan, models)

    async def _edit_once(
        self, scene: str, precondition: Precondition, change: Change, signature: Signature
    ) -> Published:
        live = await self.read(scene)
        precondition.check(scene, live.version)
        return await self.publish(scene, change(live), live.version, signature)

    async def _before(self, scene: str, live: int) -> int:
        """What the live plan replaced; that of a rollback, what the plan it repeats replaced.

        So a second rollback goes one step further back, not to the plan that the first one left.
        """
        entries = {entry.version: entry for entry in await self.history(scene, _HISTORY)}
        entry = entries.get(live)
        while entry is not None and entry.rollback_to is not None:
            entry = entries.get(entry.rollback_to)
        if entry is not None and entry.replaced is not None:
            return entry.replaced
        raise UnknownVersion(f"scene {scene!r}: version {live} replaced none; name a version")

    async def _load_models(self, ids: frozenset[str]) -> None:
        try:
            await self.prepare(ids)
        except PackageError as err:
            raise refusal_of([Finding("error", pointer("model"), str(err))]) from err


def refusal_of(findings: Sequence[Finding]) -> PlanRefused:
    """A plan's findings as a refusal."""
    wrong = [f for f in findings if f.severity == "error"]
    more = f" ({len(wrong)} errors)" if len(wrong) > 1 else ""
    return PlanRefused(
        f"{wrong[0].pointer or 'the plan'}: {wrong[0].message}{more}",
        faults=[_fault(f) for f in findings],
    )


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding as replies show it; line, column and caret only for formulas."""
    return {k: v for k, v in asdict(finding).items() if v is not None}


def _fault(finding: Finding) -> Fault:
    more = finding_json(finding)
    return Fault(more.pop("message"), more.pop("pointer"), more=more)


def _parse(scene: str, document: Any) -> Plan:
    """The plan of a document that is for this scene; raises PlanInvalid."""
    try:
        require_sane_numbers(document)
    except InvalidRequest as refusal:
        fault = refusal.faults[0]
        raise PlanInvalid([Finding("error", fault.pointer or "", fault.detail)]) from None
    plan = parse_plan(document)
    if plan.scene != scene:
        message = f"the plan says scene {plan.scene!r}, the path {scene!r}"
        raise PlanInvalid([Finding("error", pointer("scene"), message)])
    return plan


@contextmanager
def _store_errors() -> Iterator[None]:
    """What the store raises, as what a caller is told."""
    try:
        yield
    except StaleVersion as err:
        headers: Mapping[str, str] = {} if err.current is None else {"etag": etag(err.current)}
        raise EtagMismatch(str(err), headers=headers, more={"version": err.current}) from err
    except (NoSuchVersion, DamagedPlan) as err:
        raise UnknownVersion(str(err)) from err
    except UNAVAILABLE as err:
        raise StoreDown(
            f"the plan store does not answer ({type(err).__name__}); ranking goes on with the"
            " last accepted plans",
            headers={"retry-after": "1"},
        ) from err
