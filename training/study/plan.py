"""A study's file: the runs that are compared, their seeds, and what is measured of them."""

import hashlib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from training.config.file import ConfigError, load_config
from training.config.run import RunConfig
from training.config.table import Table
from training.data.config import DaysText


class Section(Table):
    """[[sections]]: text of the page, after the tables."""

    heading: str
    text: str


class Entry(Table):
    """[[runs]]: one configuration, or one other library on the rows of one."""

    name: str
    group: str = ""
    config: str | None = None  # beside the study's file; None: the study's base
    set: tuple[str, ...] = ()
    seeds: tuple[int, ...] | None = None  # None: the study's
    peer: Literal["torch-rechub", "lightgbm"] | None = None  # who trains in our place
    options: dict[str, Any] = Field(default_factory=dict)  # of the peer


class Study(Table):
    """A whole study, named after its file."""

    name: str
    title: str
    about: str = ""
    base: str  # a run's file, beside the study's
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    set: tuple[str, ...] = ()  # over every run's file
    measure: DaysText | None = None  # days to measure on; None: the validation days
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    reference: str  # the run that the others are paired with
    runs: Annotated[tuple[Entry, ...], Field(min_length=1)]
    sections: tuple[Section, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [entry.name for entry in self.runs]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"runs named twice: {', '.join(twice)}")
        if self.reference not in names:
            raise ValueError(f"reference {self.reference!r} is no run ({', '.join(names)})")
        return self


@dataclass(frozen=True)
class Trial:
    """One run of a study with one seed."""

    entry: Entry
    seed: int
    config: RunConfig

    @property
    def digest(self) -> str:
        """Changes with whatever the trial's file says, not with new keys left at their default."""
        said = self.config.model_dump(mode="json", exclude_defaults=True)
        said |= {"peer": self.entry.peer, "options": self.entry.options}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def load_study(path: Path) -> Study:
    """Read a study.

    Raises:
        ConfigError: unreadable, no TOML, an unknown key or a wrong value.
    """
    try:
        document = tomllib.loads(path.read_text())
        return Study.model_validate({**document, "name": path.stem})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ConfigError(f"{path}: {err}") from err
    except ValidationError as err:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors())
        raise ConfigError(f"{path}: {'; '.join(wrong)}") from err


def trials(study: Study, directory: Path, overrides: Iterable[str] = ()) -> list[Trial]:
    """All runs, seed by seed, so that an unfinished study compares like with like.

    Args:
        directory: of the study's file; the runs' files are named from it.
        overrides: `key=value` over every run.

    Raises:
        ConfigError: a run's configuration is wrong; all are checked before the first one starts.
    """
    of_every = (*study.set, *overrides)
    found = [
        Trial(
            entry,
            seed,
            load_config(
                directory / (entry.config or study.base),
                (*of_every, *entry.set, f"train.seed={seed}"),
            ),
        )
        for entry in study.runs
        for seed in entry.seeds or study.seeds
    ]
    return sorted(found, key=lambda trial: trial.seed)
