"""Result files: one dated JSON a bench run, complete enough to judge the figures without asking."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from loadtest.machine import describe_commit, describe_machine, describe_versions

FORMAT = 1
RESULTS = Path(__file__).parent / "results"


class ResultError(ValueError):
    """A file that is no result of the bench."""


@dataclass(frozen=True)
class Result:
    """A bench run.

    Attributes:
        kind: what was measured: compare, curve, overload or growth.
        runs: one mapping a measurement: what it varied (`contender`, `form`, `round` …), then
            `samples.summarise`'s numbers and the server's usage.
    """

    kind: str
    settings: Mapping[str, Any]
    runs: Sequence[Mapping[str, Any]]
    started_at: str
    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    source: Mapping[str, Any]
    notes: Sequence[str] = field(default=())

    def write(self, directory: Path = RESULTS) -> Path:
        """Write `<day>T<time>-<kind>.json`; an existing file is never replaced."""
        directory.mkdir(parents=True, exist_ok=True)
        stamp = re.sub(r"[-:]", "", self.started_at)[:15]
        path = directory / f"{stamp}-{self.kind}.json"
        document = {"format": FORMAT} | {name: getattr(self, name) for name in self._names()}
        with path.open("x") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a result back.

        Raises:
            ResultError: not JSON, another format, or a field missing.
        """
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError) as err:
            raise ResultError(f"{path} cannot be read: {err}") from err
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ResultError(f"{path} is no bench result of format {FORMAT}")
        if missing := [name for name in cls._names() if name not in document]:
            raise ResultError(f"{path} lacks {', '.join(missing)}")
        return cls(**{name: document[name] for name in cls._names()})

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(cls.__dataclass_fields__)


def new_result(
    kind: str,
    settings: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    *,
    surroundings: Mapping[str, Any],
    peers: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Result:
    """A result of `runs`; `surroundings` were taken before the first of them."""
    return Result(
        kind=kind,
        settings=settings,
        runs=runs,
        started_at=surroundings["started_at"],
        machine=surroundings["machine"],
        versions=describe_versions() | {"peers": dict(peers)},
        source=surroundings["source"],
        notes=notes,
    )


def look_around() -> dict[str, Any]:
    """Time, commit and machine with its load: to be called before the bench does anything."""
    now = datetime.now(UTC).replace(microsecond=0)
    return {
        "started_at": now.isoformat(),
        "machine": describe_machine(),
        "source": describe_commit(),
    }
