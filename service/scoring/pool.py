"""The loaded models of this process: loaded off the event loop, kept while they are needed."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal

from service.contract.errors import PackageError
from service.contract.repository import ModelRef, Repository
from service.scoring.memory import Dropped, give_back
from service.scoring.pace import UNPACED, Breaks, Pace
from service.scoring.package import LoadedModel, load_package
from service.scoring.proof import Verdict

State = Literal["loaded", "loading", "refused"]
Prove = Callable[[str, str | None], Verdict]  # "name/version", the one it would replace

_REFUSALS = 32


class ModelPool:
    """`name/version` -> LoadedModel. Call it on the event loop; only loading leaves the loop.

    Args:
        repository: where packages lie.
        threads: of one run.
        prove: proves a package before it is loaded beside models that serve; raises PackageError.
            The first models of a process are only loaded: there is nothing to protect yet.
        pace: of loading beside requests.
        grace_s: how long a model that nobody needs stays for requests still to look it up. The
            one replaced last stays longest: a rollback within the grace finds it warm.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        repository: Repository,
        threads: int = 1,
        *,
        prove: Prove | None = None,
        pace: Pace = UNPACED,
        grace_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._threads = threads
        self._prove, self._pace = prove, pace
        self._grace_s = grace_s
        self._clock = clock
        self._models: dict[str, LoadedModel] = {}
        self._loading: dict[str, asyncio.Future[LoadedModel]] = {}
        self._held: Counter[str] = Counter()  # by those who are preparing a plan
        self._needed: frozenset[str] = frozenset()
        self._replaced: frozenset[str] = frozenset()  # needed once, and asked for by nobody since
        self._wanted_at: dict[str, float] = {}
        self._sweep: asyncio.TimerHandle | None = None
        # One at a time: a load costs CPU and memory that the requests need.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load-model")
        self._freer = ThreadPoolExecutor(1, thread_name_prefix="free-model")
        self.problems: dict[str, str] = {}  # model id -> why it could not be loaded
        self.refusals: dict[str, str] = {}  # the last ones, whether or not anybody still asks
        self.verdicts: dict[str, Verdict] = {}  # of the loaded models that were proved

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._models))

    def get(self, id_: str) -> LoadedModel | None:
        """The loaded model, or None: one dictionary look-up, for the request path."""
        return self._models.get(id_)

    def states(self) -> dict[str, State]:
        """Every model this process knows something about."""
        refused: dict[str, State] = dict.fromkeys(self.refusals, "refused")
        loading: dict[str, State] = dict.fromkeys(self._loading, "loading")
        loaded: dict[str, State] = dict.fromkeys(self._models, "loaded")
        return refused | loading | loaded

    async def ensure(self, ids: Iterable[str]) -> None:
        """Load those of `ids` that are not loaded; concurrent calls share one load.

        Raises:
            PackageError: the first that cannot be loaded; the reason stays in `problems`.
        """
        wanted = tuple(ids)
        with self.holding(wanted):
            for id_ in wanted:
                if id_ not in self._models:
                    await self._load(id_)

    def retain(self, needed: Iterable[str]) -> None:
        """Drop models that no snapshot needs; `needed` are the ids of the snapshots of all scenes.

        A model nobody needs any more stays `grace_s` longer: requests that hold the replaced
        snapshot find it, a snapshot being prepared does not lose it to another scene's swap, and a
        rollback finds it warm. Of those that were replaced only the last one stays so long: swaps
        in quick succession do not fill the memory.
        """
        now = self._clock()
        before, self._needed = self._needed, frozenset(needed)
        self._wanted_at.update(dict.fromkeys(before | self._needed, now))
        replaced = before - self._needed
        self._drop(now, at_once=self._replaced_earlier(replaced))
        self._replaced = (self._replaced & self._models.keys()) | replaced
        self._sweep_later()

    @contextmanager
    def holding(self, ids: Collection[str]) -> Iterator[None]:
        """Drop none of these meanwhile, and not before their grace is over afterwards."""
        self._held.update(ids)
        try:
            yield
        finally:
            self._held.subtract(ids)
            self._replaced -= frozenset(ids)
            self._wanted_at.update(dict.fromkeys(ids, self._clock()))
            self._sweep_later()  # what was loaded for nothing in the end is dropped, too

    def _sweep_later(self) -> None:
        if self._sweep is None and self._wanted_at.keys() - self._needed:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(self._grace_s, self._sweep_again)

    def refuse(self, id_: str, why: str) -> None:
        """Note why a model is not to serve."""
        self.problems[id_] = self.refusals[id_] = why
        while len(self.refusals) > _REFUSALS:
            del self.refusals[next(iter(self.refusals))]

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        for executor in (self._loader, self._freer):
            executor.shutdown(wait=False, cancel_futures=True)

    def _replaced_earlier(self, now: frozenset[str]) -> set[str]:
        """Versions that were replaced before another one of the same name, which is replaced now.

        Not those that somebody prepares a plan with.
        """
        names = {ModelRef.parse(id_).name for id_ in now}
        earlier = self._replaced - self._needed - now
        return {id_ for id_ in earlier if ModelRef.parse(id_).name in names}

    def _sweep_again(self) -> None:
        self._sweep = None
        self.retain(self._needed)

    def _drop(self, now: float, at_once: set[str]) -> None:
        keep = {id_ for id_, at in self._wanted_at.items() if now - at < self._grace_s} - at_once
        keep |= self._needed | {id_ for id_, count in self._held.items() if count > 0}
        dropped = [self._models.pop(id_) for id_ in self._models.keys() - keep]
        self._wanted_at = {id_: at for id_, at in self._wanted_at.items() if id_ in keep}
        self.problems = {id_: why for id_, why in self.problems.items() if id_ in keep}
        self.verdicts = {id_: found for id_, found in self.verdicts.items() if id_ in keep}
        if dropped:
            self._freer.submit(give_back, Dropped.of(dropped, self._models.values()))

    async def _load(self, id_: str) -> None:
        loading = self._loading.get(id_)
        if loading is None:
            active = self._active(id_)
            loading = asyncio.get_running_loop().run_in_executor(
                self._loader, self._read, id_, active
            )
            self._loading[id_] = loading
            loading.add_done_callback(lambda _: self._loading.pop(id_, None))
        try:
            self._models[id_] = await asyncio.shield(loading)
        except PackageError as err:
            self.refuse(id_, str(err))
            raise
        self.problems.pop(id_, None)
        self.refusals.pop(id_, None)

    def _active(self, id_: str) -> str | None:
        """The newest version of the same model that snapshots need now."""
        name = ModelRef.parse(id_).name
        refs = [ref for ref in map(ModelRef.parse, self._needed) if ref.name == name]
        return str(max(refs, key=lambda ref: (ref.version or 0, str(ref)))) if refs else None

    def _read(self, id_: str, active: str | None) -> LoadedModel:
        ref = ModelRef.parse(id_)
        if ref.version is None:
            raise PackageError(f"{id_!r} names no version; a pool loads name/version")
        proved = None
        if self._prove is not None and self._models:
            self.verdicts[id_] = self._prove(id_, active)
            proved = self.verdicts[id_].manifest
        return load_package(
            self._repository,
            ref.name,
            ref.version,
            self._threads,
            variant=ref.variant,
            proved=proved,
            between=Breaks(self._pace),
        )
