"""From a plan document to a live version: check, load its models, compare-and-set, serve it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from service.api.etags import Precondition
from service.api.places import Places
from service.api.plan_refusals import parse_for, refusal_of, require_sane, store_errors
from service.api.version_before import version_before
from service.contract.errors import PackageError
from service.errors import (
    EtagMismatch,
    Fault,
    InvalidRequest,
    PlanUnsigned,
    UnknownScene,
)
from service.experiment.errors import PlanInvalid, UnsignedPlan
from service.experiment.findings import Finding, pointer
from service.experiment.freeze import KEY, frozen
from service.experiment.library import Expanded, expand
from service.experiment.loader import PlanLoader
from service.experiment.redrawn import redrawn
from service.experiment.reports import Report, read_report
from service.experiment.signing import SIGNATURE_HEADER
from service.experiment.snapshot import Checked
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
    checks: Places = field(default_factory=lambda: Places("checks of plans"), repr=False)
    _one_check: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _one_edit: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

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
        with self.checks.take():
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
            PlanUnsigned: there is a key, and the signature is not that of the document.
            EtagMismatch: another version is live by now.
        """
        signed = self.signed(document, signature.signed)
        checked = await self._checked(scene, document)
        if checked.snapshot is None:
            raise refusal_of(checked.findings)
        await self._load_models(checked.snapshot.models)
        with store_errors():
            version = await self.store.publish(
                scene,
                document,
                expected=expected,
                author=signature.author,
                message=signature.message,
                rollback_to=rollback_to,
                signature=signed,
            )
        await self.loader.until_settled(scene, version)
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

    async def _checked(self, scene: str, document: Any) -> Checked:
        expanded = Expanded(document)
        try:
            require_sane(document)
            with store_errors():
                pinned = await self.loader.shelf.pinned(document)
            expanded = expand(document, pinned)
            plan = parse_for(scene, expanded.document)
        except PlanInvalid as err:
            return Checked(expanded.told(err.findings), None)
        with store_errors():
            models = await self.loader.models(plan)
        checked = await self.loader.compiling.check(plan, models)
        checked = replace(checked, findings=expanded.told(checked.findings))
        live = self.loader.snapshot(scene)
        if checked.snapshot is None or live is None:
            return checked
        moved = await asyncio.to_thread(redrawn, live, checked.snapshot)
        return replace(checked, findings=(*checked.findings, *moved))

    async def _edit_once(
        self, scene: str, precondition: Precondition, change: Change, signature: Signature
    ) -> Published:
        live = await self.read(scene)
        precondition.check(scene, live.version)
        return await self.publish(scene, change(live), live.version, signature)

    async def _load_models(self, ids: frozenset[str]) -> None:
        try:
            await self.prepare(ids)
        except PackageError as err:
            raise refusal_of([Finding("error", pointer("model"), str(err))]) from err
