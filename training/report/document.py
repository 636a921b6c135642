"""What a report shows, as one JSON document: figures only, no plots, so that runs can be compared.

`finerank train` writes it as `runs/<name>/<version>/report.json`, `finerank evaluate --report DIR`
as `DIR/report.json`.
"""

import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

FILE = "report.json"


class ReportError(ValueError):
    """A report that is not there or cannot be read."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Roc(_Frozen):
    """False and true positive rates, both rising from 0 to 1."""

    false: tuple[float, ...]
    true: tuple[float, ...]


class Reliability(_Frozen):
    """Groups of rows by prediction: mean prediction, mean label, rows."""

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    rows: tuple[int, ...]


class HeadCurves(_Frozen):
    """One head on its own sample space; no ROC for a regression."""

    space: str
    rows: int
    roc: Roc | None
    reliability: Reliability


class Curve(_Frozen):
    """Values of one loss or metric, by epochs done (fractions within an epoch)."""

    epochs: tuple[float, ...]
    values: tuple[float, ...]


class History(_Frozen):
    """How training went: losses by task, and validation metrics by name, of the search."""

    losses: dict[str, Curve] = {}
    metrics: dict[str, Curve] = {}
    best_epoch: int = 0


class Mixture(_Frozen):
    """How one task of one level mixes its pool of experts: mean and deviation over rows."""

    experts: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class Conflict(_Frozen):
    """Gradients of two tasks on parameters that both reach, over minibatches: their cosine."""

    part: str
    tasks: tuple[str, str]
    cosine: float
    deviation: float
    opposed: float  # share of minibatches with a negative cosine
    minibatches: int


class Inside(_Frozen):
    """What can be seen only where the network is at hand, as training ends."""

    utilisation: dict[str, dict[str, Mixture]] = {}  # level -> task -> mixture
    conflicts: tuple[Conflict, ...] = ()


class Report(_Frozen):
    """One model on the rows of some days."""

    model: str
    days: str
    rows: int
    trained: str | None
    notes: tuple[str, ...] = ()
    facts: dict[str, str] = {}
    metrics: dict[str, float]
    heads: dict[str, HeadCurves]
    history: History = History()
    inside: Inside = Inside()

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILE).write_text(json.dumps(self.model_dump(), indent=1) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Raises ReportError: there is no report there, or it is none of this version's."""
        places = (directory, directory / FILE, directory / "report" / FILE)
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise ReportError(
                f"{directory} holds no {FILE}: give a directory that finerank train"
                " (runs/NAME/VERSION) or finerank evaluate --report wrote"
            )
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as err:
            what = err.errors(include_url=False)[0]
            raise ReportError(f"{path} is no report of this version: {what['msg']}") from err
