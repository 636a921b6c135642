"""Plan versions that were refused: why, and when to try one again though nothing has changed.

A package may arrive after the plan that names it, so a refusal is tried again; ever more rarely,
because compiling a bad plan at every poll would cost the requests their CPU.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from service.contract.errors import ContractError
from service.experiment.aliases import Aliases, unmoved
from service.experiment.errors import ExperimentError

RETRY_S = (2.0, 60.0)  # first and longest pause


@dataclass(frozen=True)
class _Refusal:
    version: int
    aliases: Aliases  # those the plan names, as they were
    why: str
    pause_s: float
    retry_at: float


class Refusals:
    """The version of each scene that is refused, if one is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of: dict[str, _Refusal] = {}
        self._log = structlog.get_logger("finerank.plans")

    def add(self, scene: str, version: int, aliases: Aliases, err: Exception) -> None:
        before = self._of.get(scene)
        pause_s = RETRY_S[0]
        if before is not None and before.version == version:
            pause_s = min(2 * before.pause_s, RETRY_S[1])
        retry_at = self._clock() + pause_s
        self._of[scene] = _Refusal(version, aliases, sentence(err), pause_s, retry_at)
        self.log(scene, version, err)

    def log(self, scene: str, version: int | None, err: Exception) -> None:
        """A log event; what is no fault of plan or package comes with its traceback."""
        expected = isinstance(err, ExperimentError | ContractError)
        self._log.warning(
            "plan_refused",
            scene=scene,
            version=version,
            reason=sentence(err),
            exc_info=None if expected else err,
        )

    def aliases(self, scene: str) -> Aliases:
        refusal = self._of.get(scene)
        return {} if refusal is None else refusal.aliases

    def stands(self, scene: str, version: int, aliases: Aliases) -> bool:
        """Whether the version is refused, with the same aliases, and not yet due to be retried."""
        refusal = self._of.get(scene)
        return (
            refusal is not None
            and refusal.version == version
            and self._clock() < refusal.retry_at
            and unmoved(refusal.aliases, aliases)
        )

    def clear(self, scene: str) -> None:
        self._of.pop(scene, None)

    def why(self, scene: str, version: int) -> str | None:
        """Why this version is refused, if it is."""
        refusal = self._of.get(scene)
        return refusal.why if refusal is not None and refusal.version == version else None

    def reasons(self) -> dict[str, str]:
        return {scene: f"version {r.version} is refused: {r.why}" for scene, r in self._of.items()}


def sentence(err: Exception) -> str:
    return str(err) or type(err).__name__
