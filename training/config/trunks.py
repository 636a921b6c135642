"""[model.trunk]: what lies between the embedded input and the towers."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from training.config.table import Table, Width, Widths

Some = Annotated[int, Field(ge=0)]  # experts, perhaps none

# What decides how much a task takes of an expert. softmax: a linear map of the input (the papers').
# attention: scaled dot products with what the experts answer. feature-selection: softmax, on inputs
# whose fields every task has weighed first.
Gate = Literal["softmax", "attention", "feature-selection"]


class SharedBottomTrunk(Table):
    """One representation for all tasks."""

    kind: Literal["shared-bottom"]
    hidden: Widths


class OMoETrunk(Table):
    """Shared experts, one gate for all tasks."""

    kind: Literal["omoe"]
    experts: Width
    hidden: Widths
    gate: Gate = "softmax"


class MMoETrunk(Table):
    """Shared experts, one gate a task."""

    kind: Literal["mmoe"]
    experts: Width
    hidden: Widths
    gate: Gate = "softmax"


class MLMMoETrunk(Table):
    """Shared experts, several levels; every gate reads the input itself."""

    kind: Literal["ml-mmoe"]
    levels: Width
    experts: Width
    hidden: Widths
    gate: Gate = "softmax"


class CGCTrunk(Table):
    """Own and shared experts, one level."""

    kind: Literal["cgc"]
    own: Some
    shared: Some
    hidden: Widths
    gate: Gate = "softmax"

    @model_validator(mode="after")
    def _someone(self) -> Self:
        if not self.own + self.shared:
            raise ValueError("a task needs own or shared experts")
        return self


class PLETrunk(Table):
    """Own and shared experts, several levels. Without shared ones its levels would have nothing to
    pass on.
    """

    kind: Literal["ple"]
    levels: Width
    own: Some
    shared: Width
    hidden: Widths
    gate: Gate = "softmax"


class AITMTrunk(Table):
    """Every task takes over from the one before it. List the tasks in the order of the funnel, and
    see [train.calibrator].
    """

    kind: Literal["aitm"]
    hidden: Widths


class STEMTrunk(Table):
    """Every task has its own embedding table beside the shared one, each `embedding` wide."""

    kind: Literal["stem"]
    own: Width
    shared: Width
    hidden: Widths
    gate: Literal["softmax", "attention"] = "softmax"


class AdaTTTrunk(Table):
    """Own experts alone, several levels; every task mixes those of all tasks."""

    kind: Literal["adatt"]
    levels: Width
    own: Width
    hidden: Widths
    gate: Gate = "softmax"
    residual: bool = True  # add each task's own experts beside the gate


Trunk = Annotated[
    SharedBottomTrunk
    | OMoETrunk
    | MMoETrunk
    | MLMMoETrunk
    | CGCTrunk
    | PLETrunk
    | AITMTrunk
    | STEMTrunk
    | AdaTTTrunk,
    Field(discriminator="kind"),
]
