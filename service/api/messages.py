"""What goes over the wire to rank: requests as they are checked, replies as they are documented.

Requests are validated by these models. Replies are written by the routes as plain JSON; their
models exist for the OpenAPI document, and a test holds the two together.
"""

from enum import Enum
from typing import Annotated, Any, NotRequired

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]
RequestId = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Bucket = Annotated[int, Field(ge=0, lt=10_000)]

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)


class User(BaseModel):
    """Who the items are ranked for. Without an id nobody is looked up or assigned by user."""

    model_config = _STRICT

    id: Id | None = None
    features: dict[str, Any] | None = Field(
        None, description="raw values by feature name; null is absent", examples=[{"age": "24-30"}]
    )


class Candidates(BaseModel):
    """The column form: one id and one value per feature for each candidate, in the same order."""

    model_config = _STRICT

    ids: list[Id]
    features: dict[str, list[Any]] | None = Field(
        None,
        description="one column a feature, as long as `ids`; null is absent",
        examples=[{"videolen_s": [49.9, 11.9]}],
    )


@with_config(ConfigDict(extra="forbid", strict=True))
class Item(TypedDict):
    """The row form: one candidate. A plain dict: two thousand models would cost too much."""

    id: Id
    features: NotRequired[dict[str, Any] | None]


class Explain(BaseModel):
    """Explain every item, and why one of two candidates is above the other."""

    model_config = _STRICT

    compare: Annotated[list[Id], Field(min_length=2, max_length=2, examples=[["6831", "5239"]])]


class RankRequest(BaseModel):
    """One user, one context, a set of candidates: give either `candidates` or `items`."""

    model_config = _STRICT

    request_id: RequestId | None = Field(None, description="made when absent")
    scene: str | None = Field(None, description="may be left out when exactly one scene is live")
    user: User | None = None
    context: dict[str, Any] | None = Field(
        None, description="request-side features only", examples=[{"tab": 1, "hour": 20}]
    )
    bucket: Bucket | dict[str, Bucket | str] | None = Field(
        None,
        description="the caller's own assignment, layer -> its bucket there, or experiment/arm, or"
        ' "" for no experiment; a number alone is the bucket of every layer',
        examples=[{"fusion": 4711}, {"fusion": "vcr-up/treatment"}],
    )
    candidates: Candidates | None = None
    items: list[Item] | None = None
    limit: Annotated[int, Field(ge=1)] | None = Field(None, description="absent: all candidates")
    explain: bool | Explain = Field(False, description="true, or two candidates to compare as well")
    heads: bool = Field(True, description="false leaves the heads out of the reply")


class Form(Enum):
    """Which of the two equivalent forms a request has; the reply mirrors it."""

    COLUMNS = "candidates"
    ROWS = "items"


class RankReplyHead(BaseModel):
    """What both reply forms say about the request as a whole."""

    request_id: str
    scene: str
    plan: int = Field(description="version of the plan that ranked")
    model: str = Field(description="name/version")
    formula: str
    assignments: dict[str, str] = Field(description="layer -> experiment/arm, in plan order")
    exp_id: str = Field(description="layer:experiment/arm, joined by commas; for logs")
    signs: dict[str, int] = Field(
        default={}, description="perturbed param -> 1 (up) or -1; absent where nothing is perturbed"
    )
    degraded: list[str] = Field(description="reason codes; [] when nothing was given up")
    degraded_detail: dict[str, int] = Field(
        default={}, description="reason -> count; absent when nothing was given up"
    )
    took_ms: float
    rerank: dict[str, dict[str, int]] | None = Field(
        None,
        description="where the plan has rules after fusion: rule -> how often it is unmet; `scores`"
        " are the formula's, and need not fall from place to place",
    )
    explain_request: dict[str, Any] | None = Field(
        None,
        description="with explain: formula, params, scalars, missing names, unknown ones (sent, and"
        " read by nothing), calibration of heads, bucket arithmetic; control: what the experiments"
        " changed, each key [in no experiment, here]; compare: the lead of one candidate over"
        " another by terms, and flips: the smallest change of each param, alone, that ends it;"
        " where nothing was scored, a note alone, which says why",
    )


class ItemExplanation(BaseModel):
    """What made one score: the contributions recompose to it."""

    heads: dict[str, float | None]
    attributes: dict[str, float | None]
    mode: str = Field(description="how the contributions recompose: product, sum or single")
    note: str = Field(description="what the terms cannot say")
    terms: list[dict[str, Any]] = Field(description="text, value and contribution of each term")
    missing: list[str] = Field(description="item features without a value")
    position: int = Field(description="by score, 1 is best; the whole request counts")
    rerank: list[str] | None = Field(
        None, description="what moved the item after fusion; absent where the plan has no rules"
    )
    control: dict[str, float | None] | None = Field(
        None, description="score and position in no experiment; absent where that is not known"
    )


class ColumnReply(RankReplyHead):
    """The reply to the column form: best first; scores and heads in the order of `ids`."""

    ids: list[str]
    scores: list[float | None] = Field(description="null: invalid, placed last")
    heads: dict[str, list[float | None]] = Field(default={}, description="head -> values")
    explain: list[ItemExplanation] | None = None


class RankedItem(BaseModel):
    """One item of the row form's reply."""

    id: str
    rank: int = Field(description="1 is best")
    score: float | None
    heads: dict[str, float | None] = {}
    explain: ItemExplanation | None = None


class RowReply(RankReplyHead):
    """The reply to the row form: best first."""

    items: list[RankedItem]


class Problem(BaseModel):
    """RFC 9457. `errors` names each place: a JSON pointer into the body, or a header."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[dict[str, Any]] = []
