"""Libraries in the store, kept like plans; versions that were read are kept in memory."""

from collections.abc import Mapping
from typing import Any

from service.experiment.connection import Client
from service.experiment.errors import PlanInvalid, UnknownVersion
from service.experiment.findings import Finding, pointer
from service.experiment.library import KEY, Pinned, pins
from service.experiment.signing import PlanKey
from service.experiment.store import PlanStore

LIBRARIES = "finerank:libraries"
_KIND = "library:"  # no scene has such a name


class Shelf:
    """The libraries that plans pin. `store`: versions, live pointer, audit, as of plans."""

    def __init__(self, redis: Client, key: PlanKey | None) -> None:
        self.store = PlanStore(redis, index=LIBRARIES, kind=_KIND)
        self._key = key
        self._read: dict[tuple[str, int], Mapping[str, Any]] = {}

    async def pinned(self, document: Any) -> Pinned:
        """The libraries of a plan document.

        Raises:
            PlanInvalid: there is no such version, or it is not signed as the key demands.
        """
        return {name: (n, await self._get(name, n)) for name, n in pins(document).items()}

    async def _get(self, name: str, version: int) -> Mapping[str, Any]:
        if (name, version) not in self._read:
            try:
                stored = await self.store.get(name, version)
            except UnknownVersion:
                message = f"there is no library {name!r} version {version}"
                raise PlanInvalid([Finding("error", pointer(KEY, name), message)]) from None
            if self._key is not None:
                self._key.check(stored.plan, stored.signature)
            self._read[name, version] = stored.plan
        return self._read[name, version]
