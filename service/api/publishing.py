"""From a plan document to a live version: check, load its models, compare-and-set, serve it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from service.api.checking import Checking
from service.api.etags import Precondition
from service.api.places import Places
from service.api.plan_refusals import refusal_of, store_errors
from service.api.version_before import version_before
from service.contract.errors import PackageError
from service.errors import (
    EtagMismatch,
    Fault,
    InvalidRequest,
    PlanUnsigned,
    UnknownScene,
)
from service.experiment.errors import UnsignedPlan
from service.experiment.findings import Finding, pointer
from service.experiment.freeze import KEY, frozen
from service.experiment.loader import PlanLoader
from service.experiment.reports import Report, read_report
from service.experiment.signing import SIGNATURE_HEADER
from service.experiment.snapshot import Checked
from service.experiment.staging import Prepare
from service.experiment.store import HistoryPage, PlanStore, Publication, StoredPlan

_ATTEMPTS = 5  # for a write that takes any live version, when others publish meanwhile
_HISTORY = 1_000
_UNSIGNED = Fault("the signature of the published document, as hex", header=SIGNATURE_HEADER)

Document = dict[str, Any]
Change = Callable[[StoredPlan], Document]


@dataclass(frozen=True)
class Signature:
    """Who publishes and why, as the audit keeps it.

    `signed`: the caller's signature of the document; None for the service's own doing, which signs
    for itself.
    """

    author: str = ""
    message: str = ""
    signed: str | None = None


@dataclass(frozen=True)
class Published:
    """A version that was live when it was published, and warnings.

    One of them says so when this replica does not serve it, yet or at all.
    """

    version: int
    findings: Sequence[Finding]


@dataclass(frozen=True)
class _Draft:
    """A document that can be published over `expected`.

    `missing`: the models it names that the live snapshot does not, which may not even load.
    """

    scene: str
    document: Document
    expected: int | None
    signature: Signature
    findings: Sequence[Finding]
    missing: frozenset[str]


class Publisher:
    """Plan changes of one replica.

    `loader` follows the store, and gives the packages that a draft would get; `prepare` loads
    models by "name/version", so that a package that cannot run stops the plan that names it;
    `checks`: places for those who only want to know.
    """

    def __init__(self, loader: PlanLoader, prepare: Prepare, checks: Places | None = None) -> None:
        self.loader = loader
        self._prepare, self._checking = prepare, Checking(loader, checks)
        self._edits: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def store(self) -> PlanStore:
        return self.loader.store

    async def live(self, scene: str) -> int | None:
        with store_errors():
            return await self.store.live(scene)

    async def read(self, scene: str, version: int | None = None) -> StoredPlan:
        """A version of a scene's plan; the live one when none is named.

        Raises:
            UnknownScene, UnknownVersion, StoreDown: as their names say.
        """
        with store_errors():
            if version is None:
                version = await self.store.live(scene)
                if version is None:
                    known = ", ".join(await self.store.scenes()) or "none"
                    raise UnknownScene(f"scene {scene!r} has no plan (scenes: {known})")
            return await self.store.get(scene, version)

    async def history(self, scene: str, limit: int) -> list[Publication]:
        return (await self.history_page(scene, limit)).entries

    async def history_page(self, scene: str, limit: int, before: str | None = None) -> HistoryPage:
        with store_errors():
            return await self.store.history_page(scene, limit, before)

    async def replicas(self, scene: str) -> dict[str, Report]:
        with store_errors():
            return {name: read_report(t) for name, t in (await self.store.replicas(scene)).items()}

    async def check(self, scene: str, document: Any) -> Checked:
        """What publishing a document would find. One at a time: no write waits for these.

        Raises:
            TooBusy: too many wait already.
        """
        return await self._checking.in_turn(scene, document)

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
            PlanUnsigned: there is a key, and the signature is not that of the document.
            EtagMismatch: another version is live by now.
        """
        draft = await self._draft(scene, document, expected, signature)
        await self._load_models(draft.missing)
        return await self._served(draft, await self._write(draft, rollback_to))

    async def edit(
        self, scene: str, precondition: Precondition, change: Change, signature: Signature
    ) -> Published:
        """Publish a change of the live plan; where any version will do, try again on a newer.

        Edits of a scene take turns, outside of which models load and are waited for: no freeze
        waits for the model of another edit.
        """
        attempts, loaded = _ATTEMPTS, frozenset[str]()
        turn = self._edits.setdefault(scene, asyncio.Lock())
        while True:
            try:
                async with turn:
                    live = await self.read(scene)
                    precondition.check(scene, live.version)
                    draft = await self._draft(scene, change(live), live.version, signature)
                    if draft.missing <= loaded:
                        version = await self._write(draft)
                        break
            except EtagMismatch:
                attempts -= 1
                if not (precondition.follows_live and attempts):
                    raise
            else:
                await self._load_models(draft.missing)
                loaded |= draft.missing
        return await self._served(draft, version)

    async def rollback(
        self, scene: str, precondition: Precondition, to: int | None, signature: Signature
    ) -> Published:
        """Publish an old version again; `to` None: the plan before this one, freezes aside."""
        live = await self.read(scene)
        precondition.check(scene, live.version)
        if to is None:
            entries = {entry.version: entry for entry in await self.history(scene, _HISTORY)}
            to = await version_before(scene, live, entries, partial(self.read, scene))
        old = await self.read(scene, to)
        told = f"rollback to {to}" + (f": {signature.message}" if signature.message else "")
        signature = Signature(
            signature.author,
            told,
            None if signature.signed is None else signature.signed or old.signature,
        )
        return await self.publish(scene, dict(old.plan), live.version, signature, rollback_to=to)

    async def freeze(
        self, scene: str, precondition: Precondition, formula: str | None, signature: Signature
    ) -> Published:
        """Serve one formula to everybody, or, with None, the whole plan again.

        `signature.message` is the reason.

        Raises:
            InvalidRequest: the plan is not frozen, and should be thawed.
        """

        def change(live: StoredPlan) -> Document:
            if formula is None and KEY not in live.plan:
                message = f"scene {scene!r} is not frozen: version {live.version} has no freeze"
                raise InvalidRequest(message, faults=[Fault(message, pointer("formula"))])
            return frozen(live.plan, formula, signature.message)

        what = "unfreeze" if formula is None else f"freeze {formula}"
        told = replace(signature, message=f"{what}: {signature.message}")
        return await self.edit(scene, precondition, change, told)

    def signed(self, document: Document, given: str | None) -> str:
        """The signature to store with a document; `given`: see `Signature`."""
        key = self.loader.key
        if key is None:
            return given or ""
        if given is None:
            return key.sign(document)
        try:
            key.check(document, given)
        except UnsignedPlan as err:
            raise PlanUnsigned(f"{err}: see finerank plan sign", faults=[_UNSIGNED]) from err
        return given

    async def _draft(
        self, scene: str, document: Document, expected: int | None, signature: Signature
    ) -> _Draft:
        signature = replace(signature, signed=self.signed(document, signature.signed))
        checked = await self._checking.check(scene, document)
        if checked.snapshot is None:
            raise refusal_of(checked.findings)
        live = self.loader.snapshot(scene)
        missing = checked.snapshot.models - (frozenset() if live is None else live.models)
        return _Draft(scene, document, expected, signature, checked.findings, missing)

    async def _write(self, draft: _Draft, rollback_to: int | None = None) -> int:
        with store_errors():
            return await self.store.publish(
                draft.scene,
                draft.document,
                expected=draft.expected,
                author=draft.signature.author,
                message=draft.signature.message,
                rollback_to=rollback_to,
                signature=draft.signature.signed or "",
            )

    async def _served(self, draft: _Draft, version: int) -> Published:
        """The answer, once the version is live here, or it is known why it is not."""
        why = await self.loader.until_settled(draft.scene, version)
        if why is None:
            return Published(version, draft.findings)
        told = f"version {version} is published, and not served by this replica yet: {why}"
        return Published(version, [*draft.findings, Finding("warning", pointer(), told)])

    async def _load_models(self, ids: frozenset[str]) -> None:
        try:
            await self._prepare(ids)
        except PackageError as err:
            raise refusal_of([Finding("error", pointer("model"), str(err))]) from err
