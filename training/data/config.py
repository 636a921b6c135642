"""What the data is: the [data] [columns] [features] [synthetic] parts of a run's file."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from service.contract.features import Name, Side
from training.data.days import Days


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _days(text: str) -> str:
    return str(Days.parse(text))


DaysText = Annotated[str, AfterValidator(_days)]  # "20220425:20220503", both included


class DataConfig(_Strict):
    """[data]: which reader, and which days train and which validate.

    `census` and `ali-ccp` have no days: the train file stands as day 1, the halves of the test file
    as days 2 (validation) and 3 (test).
    """

    reader: Literal["kuairand", "columns", "synthetic", "census", "ali-ccp"]
    train: DaysText
    validate_: Annotated[DaysText, Field(alias="validate")]
    include_random: bool = False  # kuairand: also read log_random_*.csv
    # columns: hold so many rows at once, and keep the encoded training rows on disk. For logs
    # larger than memory: Parquet, history as columns; the validation days are held as a whole.
    rows_at_once: Annotated[int, Field(ge=1)] | None = None
    # With rows_at_once: deal the row groups of the log to so many stripes. Every process reads its
    # own, and every minibatch has rows of all. None: one a process.
    stripes: Annotated[int, Field(ge=1)] | None = None

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="after")
    def _in_time_order(self) -> Self:
        if self.train_days.last >= self.validate_days.first:
            raise ValueError(
                f"train days {self.train} reach into the validation days {self.validate_}:"
                " split by time, the validation days last"
            )
        if self.stripes is not None and self.rows_at_once is None:
            raise ValueError(f"stripes = {self.stripes} needs rows_at_once: memory holds all rows")
        return self

    @property
    def train_days(self) -> Days:
        return Days.parse(self.train)

    @property
    def validate_days(self) -> Days:
        return Days.parse(self.validate_)


class FeatureColumn(_Strict):
    """[[columns.features]]: one feature and the raw column it comes from.

    `bucket` is a number cut at `edges` into a categorical ("0" below the first edge); `age_days` is
    the number of days from a date column to the row's day.
    """

    name: Name
    side: Side
    kind: Literal["categorical", "numeric", "multi", "sequence", "bucket", "age_days"]
    column: str | None = None  # None: the feature's own name
    missing: tuple[str, ...] = ()  # raw texts that mean "not there", besides the empty one
    default: str | float | None = (
        None  # None: out of vocabulary, or the median of the training rows
    )
    scale: float = 1.0  # numeric, bucket: multiplies the raw number (0.001: ms -> s)
    unit: str | None = None
    attribute: bool = False  # numeric item value that formulas may use
    edges: tuple[float, ...] = ()
    separator: str = ","  # multi, sequence, when the column is text
    max_length: Annotated[int, Field(ge=1)] = 8
    min_count: Annotated[int, Field(ge=1)] = (
        1  # rarer values of the training rows are out of vocabulary
    )
    hash_buckets: Annotated[int, Field(ge=1)] | None = None
    shares: Name | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.kind == "bucket" and list(self.edges) != sorted(set(self.edges))) or (
            (self.kind == "bucket") != bool(self.edges)
        ):
            raise ValueError(
                f"feature {self.name}: edges {self.edges} must rise, for kind 'bucket' only"
            )
        if self.side == "cross":
            raise ValueError(
                f"feature {self.name}: side 'cross' is for history of pairs, not for a column"
            )
        if self.attribute and (self.side, self.kind) != ("item", "numeric"):
            raise ValueError(
                f"feature {self.name}: only a numeric item feature can be an attribute"
            )
        if isinstance(self.default, str) and self.kind in ("numeric", "age_days"):
            raise ValueError(f"feature {self.name}: default {self.default!r} is no number")
        return self

    @property
    def source(self) -> str:
        return self.column if self.column is not None else self.name


class LabelColumn(_Strict):
    """[[columns.labels]]: an outcome. 1/0 by `equals` or `at_least`, else the number itself."""

    name: Name
    column: str | None = None
    equals: str | None = None
    otherwise: tuple[str, ...] = ()  # with `equals`: the only other texts there may be, () for any
    at_least: float | None = None
    clip: tuple[float, float] | None = None
    space: Name | None = None  # outside this sample space the label is undefined

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if sum(rule is not None for rule in (self.equals, self.at_least, self.clip)) > 1:
            raise ValueError(f"label {self.name}: give one of equals, at_least, clip")
        if self.otherwise and self.equals is None:
            raise ValueError(
                f"label {self.name}: otherwise says what else than equals there may be"
            )
        return self

    @property
    def source(self) -> str:
        return self.column if self.column is not None else self.name


class SpaceColumn(_Strict):
    """[[columns.spaces]]: the impressions where `label` is positive (`defined`: known at all)."""

    name: Name
    label: Name
    rule: Literal["positive", "defined"] = "positive"


class ColumnsConfig(_Strict):
    """[columns]: how any CSV or Parquet log maps to users, items, days, features and labels."""

    files: tuple[str, ...] = (
        "*.parquet",
        "*.csv",
    )  # in the data directory; each pattern in name order
    user: str
    item: str
    day: str | None = None  # YYYYMMDD or an ISO date
    time: str | None = (
        None  # seconds or milliseconds since 1970, or an ISO time: orders rows; its date is the day
    )
    utc_offset_h: float = 0.0  # of the days that `time` is cut into
    users: str | None = None  # a table with the user column and user features
    items: str | None = None
    features: Annotated[tuple[FeatureColumn, ...], Field(min_length=1)]
    labels: Annotated[tuple[LabelColumn, ...], Field(min_length=1)]
    spaces: tuple[SpaceColumn, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in {
            "features": [f.name for f in self.features],
            "labels": [label.name for label in self.labels],
            "spaces": [s.name for s in self.spaces],
        }.items():
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise ValueError(f"{what} named twice: {', '.join(twice)}")
        labels = {label.name for label in self.labels}
        for space in self.spaces:
            if space.label not in labels:
                raise ValueError(
                    f"space {space.name} is where label {space.label!r} holds, which is not there"
                )
        spaces = {s.name for s in self.spaces}
        for label in self.labels:
            if label.space is not None and label.space not in spaces:
                raise ValueError(
                    f"label {label.name} is defined in space {label.space!r}, which is not there"
                )
        outcomes = {label.source for label in self.labels}
        if leaked := sorted(f.name for f in self.features if f.source in outcomes):
            raise ValueError(
                f"an outcome is never an input: {', '.join(leaked)} reads a label's column"
            )
        return self

    @property
    def user_id_feature(self) -> str | None:
        return self._reading(self.user, "user")

    @property
    def item_id_feature(self) -> str | None:
        return self._reading(self.item, "item")

    def _reading(self, column: str, side: Side) -> str | None:
        found = (f.name for f in self.features if f.source == column and f.side == side)
        return next(found, None)


class FeaturesConfig(_Strict):
    """[features]: what of the reader's features this model uses."""

    exclude: tuple[str, ...] = ()  # names or patterns: "user_author_*"
    min_count: dict[Name, Annotated[int, Field(ge=1)]] = {}

    def excludes(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)


class SyntheticConfig(_Strict):
    """[synthetic]: size of the generated world. The same numbers give the same world exactly."""

    users: Annotated[int, Field(ge=2)] = 200
    items: Annotated[int, Field(ge=2)] = 1_000
    days: Annotated[int, Field(ge=2)] = 8
    impressions_per_day: Annotated[int, Field(ge=1)] = 5_000
    first_day: int = 20260101
    seed: int = 0
