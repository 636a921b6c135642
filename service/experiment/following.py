"""From where the store's pointers stand to what is served: one look at all scenes.

A plan is accepted when it is read, parsed, compiled, run dry and its models are prepared; then one
assignment makes it live. Anything wrong leaves the live snapshot, and is a log event and a line in
`problems`.
"""

from collections.abc import Callable, Mapping

from service.experiment.accepted import NotServed
from service.experiment.ahead import NotYet
from service.experiment.aliases import Aliases, AliasStore
from service.experiment.errors import DamagedAliases
from service.experiment.live import Live
from service.experiment.moves import Together, Wanted, every_alias, moved
from service.experiment.refusals import Refusals, sentence
from service.experiment.saved import Saved
from service.experiment.staging import Staged, Staging


class Following:
    """Changes what is live.

    `stir` is called when something went live, or was refused: who waits for it looks again, and so
    does the loader, as what was refused over the models that were live may do now. `tell` is called
    when the store says something new: only who waits looks again, and hears of the version that
    replaces theirs, however long its own models load.
    """

    def __init__(
        self,
        live: Live,
        staging: Staging,
        aliases: AliasStore,
        *,
        stir: Callable[[], None],
        tell: Callable[[], None],
    ) -> None:
        self._live, self._staging, self._aliases = live, staging, aliases
        self._stir, self._tell = stir, tell
        self._together = Together(staging)
        self._refusals = Refusals()  # of versions; `_together` has those of alias moves
        self._other: dict[str, str] = {}  # scene -> what else is wrong
        self._pointers: Mapping[str, int | None] = {}  # at the last look

    def refused(self) -> dict[str, str]:
        """Scene -> the version that is refused, and why."""
        return {**self._together.refusals.reasons(), **self._refusals.reasons()}

    def problems(self) -> dict[str, str]:
        """Scene -> why its live plan is not the one served here."""
        return {**self._other, **self.refused()}

    def why_refused(self, scene: str, version: int) -> str | None:
        """Why this version is refused, if it is and does not come with the models of an alias."""
        if self._together.coming.get(scene) == version:
            return None
        return self._refusals.why(scene, version)

    def why_replaced(self, scene: str, version: int) -> str | None:
        """Which version has replaced this one in the store, if one has, and why that is refused."""
        later = self._pointers.get(scene)
        if later is None or later <= version:
            return None
        why = self.why_refused(scene, later)
        refused = "" if why is None else f", which is refused here: {why}"
        return f"it was replaced by version {later}{refused}"

    async def follow(self, pointers: Mapping[str, int | None]) -> None:
        """Serve what the store says: first the versions, then where aliases have moved.

        Raises:
            UNAVAILABLE: the store does not answer any more.
        """
        if pointers != self._pointers:
            self._pointers = pointers
            self._tell()
        named = {name for a in self._live.accepted.values() for name in a.aliases}
        named |= {name for scene in pointers for name in self._refusals.aliases(scene)}
        now = await self._aliases.read(named)
        for scene in pointers.keys() | self._live.accepted.keys():
            await self._follow(scene, pointers.get(scene), now)
        for scene, accepted in self._live.accepted.items():
            if damaged := (named - now.keys()) & accepted.aliases.keys():
                self._other[scene] = str(DamagedAliases(min(damaged)))  # and serves what it did
        await self._move(pointers, now)
        self._staging.forget()

    async def serve_saved(self, scene: str, saved: Saved) -> None:
        """Serve a plan from disk until the store says otherwise.

        Raises:
            ExperimentError, PackageError: it cannot go live.
        """
        await self._live.accept([await self._staging.stage_saved(scene, saved)], confirmed=False)

    def refuse_saved(self, scene: str, err: Exception) -> None:
        self._other[scene] = f"the saved plan is refused: {sentence(err)}"
        self._refusals.log(scene, None, err)

    async def _follow(self, scene: str, version: int | None, now: Aliases) -> None:
        """Serve the live version with the models that aliases named here before."""
        accepted = self._live.accepted.get(scene)
        if version is None:
            if accepted is not None:
                stays = f"version {accepted.snapshot.version} stays"
                self._other[scene] = f"the store has no live plan any more: {stays}"
        elif accepted is not None and accepted.still_is(version):
            self._clear(scene)
        elif not self._refusals.stands(scene, version, now):
            await self._load(scene, version)

    async def _load(self, scene: str, version: int) -> None:
        before = self._live.accepted.get(scene)
        try:
            staged = await self._staging.stage(scene, version, before, self._live.named(scene))
        except NotYet:
            return
        except NotServed as refused:
            self._refusals.add(scene, version, refused.aliases, refused.why)
            self._stir()
            return
        if staged is None:
            self._live.confirm(scene)
            self._clear(scene)
        else:
            await self._accept([staged])

    async def _move(self, pointers: Mapping[str, int | None], now: Aliases) -> None:
        """Serve the same versions, or newer ones that need it, with the models of aliases now."""
        newer = self._newer(pointers, now)
        following = {
            scene: accepted
            for scene, accepted in self._live.accepted.items()
            if (accepted.confirmed or scene in newer)
            and pointers.get(scene) is not None
            and accepted.aliases.keys() <= now.keys()  # a plan that came just now may name others
        }
        staged = await self._together.ready(following, newer, now)
        if staged:
            await self._accept(staged)

    def _newer(self, pointers: Mapping[str, int | None], now: Aliases) -> dict[str, Wanted]:
        """Versions in the store, refused over what their aliases stand for here, not over `now`."""
        newer = {}
        for scene, accepted in self._live.accepted.items():
            version, named = pointers.get(scene), self._refusals.aliases(scene)
            if (
                version is not None
                and self._refusals.why(scene, version) is not None
                and named.keys() <= now.keys()
                and moved(accepted.aliases, now) & every_alias(named)
                and not self._together.over_now.stands(scene, version, now)
            ):
                newer[scene] = Wanted(version, named)
        return newer

    async def _accept(self, staged: list[Staged]) -> None:
        for one in staged:
            self._clear(one.snapshot.scene)
        await self._live.accept(staged, confirmed=True)
        self._stir()

    def _clear(self, scene: str) -> None:
        self._other.pop(scene, None)
        self._refusals.clear(scene)
