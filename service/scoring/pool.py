"""The loaded models of this process: loaded off the event loop, kept while they are needed."""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from service.contract.errors import PackageError
from service.contract.repository import ModelRef, Repository
from service.scoring.package import LoadedModel, load_package


class ModelPool:
    """`name/version` -> LoadedModel. Call it on the event loop; only loading leaves the loop."""

    def __init__(
        self,
        repository: Repository,
        threads: int = 1,
        *,
        grace_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._threads = threads
        self._grace_s = grace_s
        self._clock = clock
        self._models: dict[str, LoadedModel] = {}
        self._loading: dict[str, asyncio.Future[LoadedModel]] = {}
        self._wanted_at: dict[str, float] = {}
        # One at a time: creating a session holds the interpreter lock and stalls requests.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load-model")
        self.problems: dict[str, str] = {}  # model id -> why it could not be loaded

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._models))

    def get(self, id_: str) -> LoadedModel | None:
        """The loaded model, or None: one dictionary look-up, for the request path."""
        return self._models.get(id_)

    async def ensure(self, ids: Iterable[str]) -> None:
        """Load those of `ids` that are not loaded; concurrent calls share one load.

        Raises:
            PackageError: the first that cannot be loaded; the reason stays in `problems`.
        """
        for id_ in ids:
            self._wanted_at[id_] = self._clock()
            if id_ not in self._models:
                await self._load(id_)

    def retain(self, needed: Iterable[str]) -> None:
        """Drop models that no snapshot needs; `needed` are the ids of the snapshots of all scenes.

        A model nobody needs any more stays `grace_s` longer: requests that hold the replaced
        snapshot find it, a snapshot being prepared does not lose it to another scene's swap, and a
        rollback finds it warm.
        """
        now = self._clock()
        self._wanted_at.update(dict.fromkeys(needed, now))
        keep = {id_ for id_, at in self._wanted_at.items() if now - at <= self._grace_s}
        self._wanted_at = {id_: at for id_, at in self._wanted_at.items() if id_ in keep}
        self._models = {id_: model for id_, model in self._models.items() if id_ in keep}
        self.problems = {id_: why for id_, why in self.problems.items() if id_ in keep}

    def close(self) -> None:
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def _load(self, id_: str) -> None:
        loading = self._loading.get(id_)
        if loading is None:
            loading = asyncio.get_running_loop().run_in_executor(self._loader, self._read, id_)
            self._loading[id_] = loading
            loading.add_done_callback(lambda _: self._loading.pop(id_, None))
        try:
            self._models[id_] = await asyncio.shield(loading)
        except PackageError as err:
            self.problems[id_] = str(err)
            raise
        self.problems.pop(id_, None)

    def _read(self, id_: str) -> LoadedModel:
        ref = ModelRef.parse(id_)
        if ref.version is None:
            raise PackageError(f"{id_!r} names no version; a pool loads name/version")
        return load_package(self._repository, ref.name, ref.version, self._threads)
