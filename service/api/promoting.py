"""From a version to the one that serves: prove, check every formula, rehearse, move the alias.

Everything that can refuse a version comes before the move: a bad package changes nothing.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from service.contract.errors import PackageError
from service.contract.errors import UnknownModel as NoSuchModel
from service.contract.repository import ModelRef
from service.errors import (
    AliasMoved,
    Fault,
    ModelRefused,
    NoVersionBefore,
    StoreDown,
    UnknownModel,
)
from service.experiment.aliases import DEMOTE, PROMOTE
from service.experiment.connection import UNAVAILABLE
from service.experiment.errors import DamagedAliases, PlanInvalid, StaleAlias
from service.experiment.loader import PlanLoader
from service.experiment.snapshot import Snapshot
from service.experiment.staging import Rehearse
from service.experiment.walk import model_refs
from service.scoring.pool import ModelPool


@dataclass(frozen=True)
class Promoted:
    """Where an alias points. `moved`: since now; `scenes`: those whose plan names it."""

    name: str
    alias: str
    version: int
    moved: bool
    replaced: int | None
    scenes: list[str]


@dataclass(frozen=True)
class Promoter:
    """Alias moves of one replica; the others follow by themselves."""

    loader: PlanLoader
    pool: ModelPool
    rehearse: Rehearse

    async def promote(self, name: str, alias: str, version: int, author: str = "") -> Promoted:
        """Point `alias` at `version` once it has passed every gate here; at once if it does.

        Raises:
            UnknownModel: no such version.
            ModelRefused: what is wrong with it, or the formula that cannot use it.
            AliasMoved, StoreDown: as their names say.
        """
        return await self._move(name, alias, version, PROMOTE, author)

    async def demote(self, name: str, alias: str, author: str = "") -> Promoted:
        """Point `alias` where it pointed before its version was promoted.

        Raises:
            UnknownModel: no alias.
            NoVersionBefore: nothing is known of a version before.
            ModelRefused, AliasMoved, StoreDown: see `promote`.
        """
        with _errors():
            current = (await self._aliases(name)).get(alias)
            if current is None:
                raise UnknownModel(f"model {name!r} has no alias {alias!r}")
            before = await self.loader.aliases.before(name, alias, current)
        if before is None:
            raise NoVersionBefore(
                f"{name}@{alias}: nobody promoted version {current} over another;"
                " promote the version to go back to"
            )
        return await self._move(name, alias, before, DEMOTE, author)

    async def _move(
        self, name: str, alias: str, version: int, action: str, author: str
    ) -> Promoted:
        id_, to = f"{name}/{version}", {name: {alias: version}}
        with _errors():
            ModelRef.parse(f"{name}@{alias}")
            await asyncio.to_thread(self.loader.repository.resolve, ModelRef.parse(id_))
            current = (await self._aliases(name)).get(alias)
            if current == version:
                scenes = [live.scene for live in self._naming(ModelRef(name, alias))]
                return Promoted(name, alias, version, False, current, scenes)
            with self.pool.holding([id_]):
                await self.pool.ensure([id_])
                naming = self._naming(ModelRef(name, alias))
                staged = [await self._compile(live, to) for live in naming]
                # Their other models, too: live plans may leave one meanwhile, or its alias may
                # point at a newer one by now.
                models = frozenset[str]().union(*(snapshot.models for snapshot in staged))
                with self.pool.holding(models):
                    await self.pool.ensure(models)
                    for snapshot in staged:
                        await self.rehearse(snapshot)
                    await self.loader.aliases.move(
                        name, alias, version, expected=current, action=action, author=author
                    )
        await self.loader.refresh()
        return Promoted(name, alias, version, True, current, [live.scene for live in naming])

    async def _aliases(self, name: str) -> Mapping[str, int]:
        found = await self.loader.aliases.read([name])
        if name not in found:
            raise DamagedAliases(name)
        return found[name]

    def _naming(self, ref: ModelRef) -> list[Snapshot]:
        """The live snapshots of plans that name this alias."""
        live = [self.loader.snapshot(scene) for scene in self.loader.scenes()]
        running = [s for s in live if s is not None]
        return [s for s in running if ref in {named.package for named in model_refs(s.plan)}]

    async def _compile(self, live: Snapshot, to: dict[str, dict[str, int]]) -> Snapshot:
        models = await self.loader.models(live.plan, to)
        try:
            checked = await self.loader.compiling.check(live.plan, models)
            return checked.as_version(live.version)
        except PlanInvalid as err:
            raise ModelRefused(
                f"the live plan of scene {live.scene!r} cannot use it: {err}",
                faults=[Fault(f.message, f.pointer) for f in err.findings],
            ) from err


@contextmanager
def _errors() -> Iterator[None]:
    """What the rooms raise, as what a caller is told."""
    try:
        yield
    except NoSuchModel as err:
        raise UnknownModel(str(err)) from err
    except PackageError as err:
        raise ModelRefused(str(err)) from err
    except StaleAlias as err:
        raise AliasMoved(str(err)) from err
    except DamagedAliases as err:
        raise StoreDown(f"{err}; no alias has moved", headers={"retry-after": "1"}) from err
    except UNAVAILABLE as err:
        raise StoreDown(
            f"the store does not answer ({type(err).__name__}); no alias has moved",
            headers={"retry-after": "1"},
        ) from err
