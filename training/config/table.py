"""The ground of all configuration tables: frozen, and no key that nobody knows."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Width = Annotated[int, Field(ge=1)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Table(BaseModel):
    """One table of a run's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
