"""Rest between pieces of work that no request waits for, for as long as requests come in."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_RESTS = 8.0  # times the work: a ninth of a core is taken
_LONGEST_S = 0.5
_LOOK_S = 0.001
_LEAST_WORK_S = 0.001  # before a break: each may wait for a free moment
_PATIENCE_S = 0.1  # for a free moment: under overload there may be none


@dataclass(frozen=True)
class Pace:
    """When to go on with such work.

    `is_busy`: requests come in now. `is_free`: right now a thread that scores has nothing to do.
    """

    is_busy: Callable[[], bool]
    is_free: Callable[[], bool] = lambda: True

    def pauses(self, worked_s: float) -> Iterator[float]:
        """What to sleep after so much work, one after the other, in seconds.

        There is nothing to sleep where nobody would notice the work.
        """
        if not self.is_busy():
            return
        yield min(_RESTS * worked_s, _LONGEST_S)
        until = time.monotonic() + _PATIENCE_S
        while not self.is_free() and time.monotonic() < until:
            yield _LOOK_S

    async def rest(self, worked_s: float) -> None:
        """Sleep so on the event loop, which in any case gets its turn."""
        await asyncio.sleep(0)
        for pause_s in self.pauses(worked_s):
            await asyncio.sleep(pause_s)


UNPACED = Pace(lambda: False)


class Breaks:
    """Call it between two pieces of work: it sleeps as long as what this thread did calls for.

    Counted is CPU time, of the thread that made it: what waited for a CPU was in nobody's way.
    Pieces of less than a millisecond are rested for together.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace, self._at = pace, time.thread_time()

    def __call__(self) -> None:
        worked_s = time.thread_time() - self._at
        if worked_s < _LEAST_WORK_S:
            return
        for pause_s in self._pace.pauses(worked_s):
            time.sleep(pause_s)
        self._at = time.thread_time()
