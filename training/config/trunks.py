"""[model.trunk]: what lies between the embedded input and the towers."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from training.config.table import Table, Width, Widths


class SharedBottomTrunk(Table):
    """One representation for all tasks."""

    kind: Literal["shared-bottom"]
    hidden: Widths


class MMoETrunk(Table):
    """Shared experts, one gate a task."""

    kind: Literal["mmoe"]
    experts: Width
    hidden: Widths


class CGCTrunk(Table):
    """Own and shared experts, one level."""

    kind: Literal["cgc"]
    own: Annotated[int, Field(ge=0)]
    shared: Annotated[int, Field(ge=0)]
    hidden: Widths

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
    own: Annotated[int, Field(ge=0)]
    shared: Width
    hidden: Widths


Trunk = Annotated[SharedBottomTrunk | MMoETrunk | CGCTrunk | PLETrunk, Field(discriminator="kind")]
