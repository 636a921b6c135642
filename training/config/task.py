"""[[tasks]]: what is learned, and which heads come of it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.contract.features import Name
from service.contract.heads import SampleSpace
from training.config.table import Table

# What the heads of this project's vocabulary mean; another head brings its own `meaning`.
MEANINGS = {
    "ctr": "P(click | impression)",
    "cvr": "P(conversion | click)",
    "ctcvr": "P(click and conversion | impression) = ctr * cvr",
    "vtr": "P(long view | impression)",
    "vcr": "expected completion ratio in [0, 1]",
    "like": "P(like | impression)",
}


class Task(Table):
    """One [[tasks]]: a thing learned and, unless it stands beside another, a head."""

    name: Name
    label: Name
    space: SampleSpace = "impression"
    kind: Literal["binary", "regression"] = "binary"
    loss: Literal["bce", "mse", "none"] | None = None  # None: bce for binary, mse for regression
    weight: Annotated[float, Field(gt=0)] = 1.0
    product: tuple[Name, ...] | None = None  # a product of other heads, with no tower of its own
    beside: Name | None = None  # auxiliary: reads that task's representation, is no head
    meaning: str = ""
    unit: str = "probability"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.product is not None and self.beside is not None:
            raise ValueError(f"task {self.name}: a product has no representation to stand beside")
        if self.product is not None and self.loss == "mse":
            raise ValueError(f"task {self.name}: the loss of a product is bce or none")
        if self.beside is None and not self.says:
            raise ValueError(f"task {self.name}: say what the head means (meaning = ...)")
        return self

    @property
    def says(self) -> str:
        return self.meaning or MEANINGS.get(self.name, "")

    @property
    def loss_name(self) -> Literal["bce", "mse", "none"]:
        return self.loss or ("bce" if self.kind == "binary" else "mse")
