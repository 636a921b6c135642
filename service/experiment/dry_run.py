"""Run a compiled formula on the golden rows of a model: would it give every one of them a score?"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.golden import Golden
from service.contract.manifest import Manifest
from service.experiment.scalars import read_scalars
from service.fusion import Formula


@dataclass(frozen=True)
class InvalidRow:
    """A golden row (0-based) without a score, and the values that the formula reads there."""

    row: int
    values: Mapping[str, float]

    def __str__(self) -> str:
        values = ", ".join(f"{name} = {value:g}" for name, value in self.values.items())
        return f"golden row {self.row} ({values})" if values else f"golden row {self.row}"


def first_invalid_row(
    formula: Formula, manifest: Manifest, golden: Golden, defaults: Mapping[str, float]
) -> InvalidRow | None:
    """The first golden row that the formula gives no finite score, or None.

    Rows with the same scalars are one candidate set, as they would be in a request. `defaults` are
    the scalars that the formula uses, with their values when absent.
    """
    columns: dict[str, NDArray[Any]] = {**golden.heads, **golden.attributes(manifest.schema_)}
    scalars = [
        read_scalars(defaults, raw["user"].get("features", {}), raw.get("context", {}))
        for raw in golden.raw
    ]
    together: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for row, values in enumerate(scalars):
        together[tuple(values.values())].append(row)
    invalid: list[int] = []
    for rows in together.values():
        picked = {name: np.asarray(column)[rows] for name, column in columns.items()}
        scores = formula(picked, scalars[rows[0]], rows=len(rows))
        invalid += [row for row, valid in zip(rows, scores.valid, strict=True) if not valid]
    if not invalid:
        return None
    row = min(invalid)
    used = sorted(formula.heads | formula.attributes)
    return InvalidRow(row, {n: float(columns[n][row]) for n in used} | scalars[row])
