"""What `explain` adds to a ranking: terms, what is missing, the default's view, one comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.features.resolve import missing_names
from service.fusion import Scores, order
from service.fusion.compare import compare
from service.scoring.package import LoadedModel
from service.scoring.prepared import Prepared
from service.scoring.ranking import Control, Explained, RankInput, Snapshot, Treatment

Columns = Mapping[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Explaining:
    """What an explanation needs beside the ranking; made only for requests that ask for one.

    `control`: what the request would get if it were in no experiment. `bounds`: of params.
    """

    control: Treatment
    bounds: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, request: RankInput, snapshot: Snapshot) -> "Explaining | None":
        return cls(snapshot.default, snapshot.bounds) if request.explain else None


def explain(
    explaining: Explaining,
    request: RankInput,
    treatment: Treatment,
    model: LoadedModel,
    prepared: Prepared,
    columns: Columns,
    scalars: Mapping[str, float],
    scores: Scores,
) -> Explained:
    """Explain N candidates that were just scored."""
    rows = len(request.ids)
    terms = treatment.formula.explain(columns, scalars, rows=rows)
    missing, missing_by_item = missing_names(model.schema, prepared.raw)
    comparison = None
    if request.compare is not None:
        first, second = request.compare
        comparison = compare(
            treatment.formula,
            columns,
            scalars,
            rows,
            (first, second),
            (terms[first], terms[second]),
            treatment.params,
            explaining.bounds,
        )
    calibrated = {h.name: h.calibration for h in model.manifest.heads if h.calibration is not None}
    return Explained(
        terms=terms,
        attributes=prepared.attributes,
        scalars=scalars,
        missing=missing,
        missing_by_item=missing_by_item,
        calibrations=calibrated,
        positions=_positions(scores),
        control=_control(explaining.control, treatment, prepared, columns, rows),
        comparison=comparison,
    )


def _control(
    default: Treatment, treatment: Treatment, prepared: Prepared, columns: Columns, rows: int
) -> Control | None:
    """How the default would have scored; None for who gets it, or nothing else, anyway.

    Under another model it is not known: heads of a model that did not run.
    """
    if not treatment.assignments:
        return None
    same = (t for t in (default, *default.lighter) if t is not None and t.model == treatment.model)
    control = next(same, None)
    if control is None:
        return Control(default, None, None)
    scalars = control.scalars(prepared.raw.user, prepared.raw.context)
    scores = control.formula(columns, scalars, rows=rows)
    return Control(control, np.where(scores.valid, scores.values, np.nan), _positions(scores))


def _positions(scores: Scores) -> NDArray[np.intp]:
    """1-based place of each candidate by score."""
    ranked = order(scores)
    positions = np.empty_like(ranked)
    positions[ranked] = np.arange(1, len(ranked) + 1)
    return positions
