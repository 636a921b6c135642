"""[history]: what strictly earlier days say about a row."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.contract.features import Name


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Outcome(_Strict):
    """[[history.outcomes]]: a label whose past mean is an input.

    The mean of n past values is drawn to `prior`, as if `strength` more had been seen there:
    (sum + strength * prior) / (n + strength). Both are constants: an unknown key is just `prior`.
    """

    label: Name
    prior: float
    strength: Annotated[float, Field(gt=0)] = 10.0


class RateTable(_Strict):
    """[[history.rates]]: past means by one feature's value, or by a pair of values."""

    by: Annotated[tuple[Name, ...], Field(min_length=1, max_length=2)]
    outcomes: tuple[Name, ...] | None = None  # None: all

    @property
    def stem(self) -> str:
        return "_".join(name.removesuffix("_id") for name in self.by)


class Recent(_Strict):
    """[[history.recent]]: the user's last items of earlier days, newest first."""

    name: Name
    length: Annotated[int, Field(ge=1)] = 20
    where: Name | None = None  # only impressions where this label is positive


class HistoryConfig(_Strict):
    """[history]: what strictly earlier days say about a row."""

    outcomes: tuple[Outcome, ...] = ()
    rates: tuple[RateTable, ...] = ()
    recent: tuple[Recent, ...] = ()

    @model_validator(mode="after")
    def _known_outcomes(self) -> Self:
        known = {o.label for o in self.outcomes}
        for table in self.rates:
            if unknown := sorted(set(table.outcomes or ()) - known):
                raise ValueError(
                    f"history by {' x '.join(table.by)} wants {', '.join(unknown)},"
                    f" which [[history.outcomes]] lacks (it has: {', '.join(sorted(known))})"
                )
        return self

    def outcomes_of(self, table: RateTable) -> tuple[Outcome, ...]:
        return tuple(
            o for o in self.outcomes if table.outcomes is None or o.label in table.outcomes
        )
