"""Heads: the named outputs of a model, and what each one means."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.contract.features import Name

SampleSpace = Annotated[
    str, Field(pattern=r"^[a-z_][a-z0-9_]{0,31}$")
]  # impression, play, click ...


class Calibration(BaseModel):
    """What was fitted to make a head's predictions sum to what happens, inside the graph.

    Predicted over observed on the rows it was fitted on; `after` by cross-fitting, so that no row
    is measured with a fit that saw it. None where nothing was observed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["none", "platt", "isotonic"]  # none: the rows did not allow a fit
    rows: int
    before: float | None = None
    after: float | None = None


class Head(BaseModel):
    """One output: P(event | sample space) or an expected value, on the wire under `name`.

    `product` says that the head is a product of other heads (ctcvr = ctr * cvr), made in the graph.
    `quantiles` are (probability, value) pairs observed on the validation days.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    meaning: str
    sample_space: SampleSpace
    kind: Literal["binary", "regression"]
    range: tuple[float, float] = (0.0, 1.0)
    unit: str = "probability"
    product: tuple[Name, ...] | None = None
    quantiles: tuple[tuple[float, float], ...] = ()
    calibration: Calibration | None = None
    negative_rate: float = 1.0  # share of the negatives in the training log, corrected for

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.range[0] >= self.range[1]:
            raise ValueError(f"head {self.name}: range {self.range} is empty")
        if self.product is not None and len(self.product) < 2:
            raise ValueError(f"head {self.name}: a product has at least two factors")
        return self
