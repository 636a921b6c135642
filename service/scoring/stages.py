"""How long each stage of one request took."""

from collections.abc import Callable


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

    def timed(self, name: str) -> "_Timed":
        """Time a `with` block.

        Raises:
            ValueError: the name was timed before, or another stage is running.
        """
        return _Timed(self, name)

    def began(self, name: str) -> float:
        if name in self.ms:
            raise ValueError(f"stage {name!r} is timed twice")
        if self._open is not None:
            raise ValueError(f"stage {name!r} starts inside stage {self._open!r}")
        self._open = name
        return self._clock()

    def ended(self, name: str, began_at: float) -> None:
        self.ms[name] = (self._clock() - began_at) * 1000
        self._open = None


class _Timed:
    """One stage that runs. A generator would take twice the time for it."""

    __slots__ = ("_began_at", "_name", "_stages")

    def __init__(self, stages: Stages, name: str) -> None:
        self._stages, self._name = stages, name

    def __enter__(self) -> None:
        self._began_at = self._stages.began(self._name)

    def __exit__(self, *raised: object) -> None:
        self._stages.ended(self._name, self._began_at)
