"""How long each stage of one request took."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stages:
    """Times stages by name, in ms; each once, so that their sum never exceeds the request."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: str | None = None
        self.ms: dict[str, float] = {}

    def waited(self, name: str, since: float) -> None:
        """Note the time from the instant `since` of this clock until now.

        Raises:
            ValueError: the name was timed before.
        """
        if name in self.ms:
            raise ValueError(f"stage {name!r} is timed twice")
        self.ms[name] = (self._clock() - since) * 1000

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time the block.

        Raises:
            ValueError: the name was timed before, or another stage is running.
        """
        if name in self.ms:
            raise ValueError(f"stage {name!r} is timed twice")
        if self._open is not None:
            raise ValueError(f"stage {name!r} starts inside stage {self._open!r}")
        self._open = name
        started_at = self._clock()
        try:
            yield
        finally:
            self.ms[name] = (self._clock() - started_at) * 1000
            self._open = None
