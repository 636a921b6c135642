"""What can be wrong with a plan, its store or the embedded server, as sentences."""

from collections.abc import Sequence

from service.experiment.findings import Finding


class ExperimentError(Exception):
    """Something about plans, aliases or their store."""


class PlanInvalid(ExperimentError):
    """A plan document that cannot be used: every finding, errors first."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(sorted(findings, key=lambda f: f.severity != "error"))
        super().__init__("; ".join(str(f) for f in self.findings))


class StaleVersion(ExperimentError):
    """Somebody else published first: `current` is the live version now (None: there is none)."""

    def __init__(self, scene: str, expected: int | None, current: int | None) -> None:
        self.scene, self.expected, self.current = scene, expected, current
        was = "no plan" if expected is None else f"version {expected}"
        now = "there is none" if current is None else f"version {current} is live"
        super().__init__(f"scene {scene!r}: the change was made to {was}, but {now}")


class UnknownVersion(ExperimentError):
    """A plan version that the store does not hold."""

    def __init__(self, scene: str, version: int) -> None:
        self.scene, self.version = scene, version
        super().__init__(f"scene {scene!r} has no plan version {version}")


class DamagedPlan(ExperimentError):
    """A stored or saved plan whose bytes are not what was published."""


class DamagedAliases(ExperimentError):
    """A model's aliases in the store that cannot be read."""

    def __init__(self, model: str) -> None:
        super().__init__(f"the aliases of model {model!r} are damaged: their key holds no hash")


class UnsignedPlan(ExperimentError):
    """A document without the signature that the key demands."""


class StaleAlias(ExperimentError):
    """Somebody else moved the alias first: `current` is where it points now (None: nowhere)."""

    def __init__(self, model: str, alias: str, expected: int | None, current: int | None) -> None:
        self.model, self.alias, self.expected, self.current = model, alias, expected, current
        was, now = (f"version {v}" if v else "nothing" for v in (expected, current))
        super().__init__(f"{model}@{alias} was expected to point at {was}, but points at {now}")


class EmbeddedError(ExperimentError):
    """The embedded Valkey cannot be used; `url`: where one is running that does not answer."""

    def __init__(self, message: str, url: str | None = None) -> None:
        self.url = url
        super().__init__(message)


class NotRunning(ExperimentError):
    """An arm that cannot be stopped, because it is not there or was stopped before."""
