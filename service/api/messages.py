"""What goes over the wire: requests as they are checked, replies as they are documented.

Requests are validated by these models. Replies are written by the routes as plain JSON; their
models exist for the OpenAPI document, and a test holds the two together.
"""

from enum import Enum
from typing import Annotated, Any, Literal, NotRequired

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
        description="with explain: formula, params, scalars, missing names, calibration of heads,"
        " bucket arithmetic; control: what the experiments changed, each key [in no experiment,"
        " here]; compare: the lead of one candidate over another by terms, and flips: the smallest"
        " change of each param, alone, that ends it",
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


class PlanFinding(BaseModel):
    """One thing to know about a plan. Errors stop it; warnings do not."""

    severity: Literal["error", "warning"]
    pointer: str = Field(description="JSON pointer into the plan")
    message: str
    line: int | None = None
    column: int | None = None
    caret: str | None = Field(None, description="the formula's line with the place under it")


class PlanReply(BaseModel):
    """The live plan of a scene; its version is also the ETag, `"v41"`."""

    version: int
    plan: dict[str, Any]
    author: str
    message: str
    published_at: str
    signature: str | None = Field(None, description="of a signed plan, HMAC-SHA256 as hex")


class PublishReply(BaseModel):
    """A plan was published; rank replies show this version as `plan`."""

    version: int
    findings: list[PlanFinding] = Field(description="warnings")


class ValidateReply(BaseModel):
    """What publishing this plan would say."""

    valid: bool
    findings: list[PlanFinding]


class PreviewReply(BaseModel):
    """What a draft would change in the order of answered requests; shares are of requests.

    `means`: head or attribute -> k -> its mean over the first k, as `served`, as `draft`, `delta`.
    """

    scene: str
    source: Literal["memory", "log"]
    note: str
    requests: int
    skipped: dict[str, int] = Field(description="reason -> requests that could not be compared")
    first_at_s: float | None = Field(description="Unix time of the oldest request")
    last_at_s: float | None
    models: dict[str, int] = Field(description="model whose heads these are -> requests")
    formulas: dict[str, int] = Field(description="formula of the draft -> requests")
    tau_b: dict[str, float | int | None] = Field(
        description="Kendall's tau-b of the scores of the `depth` candidates that were served first"
    )
    overlap: dict[str, float] = Field(description="k -> share of the first k that stay there")
    top1_changed: float
    unchanged: float
    plans: dict[str, int] = Field(description="plan version that ranked them -> requests")
    by_score_only: int = Field(
        description="requests whose rules after fusion in the draft read what was not logged"
    )
    newly_invalid: int = Field(description="candidates that only the draft gives no score")
    means: dict[str, dict[str, dict[str, float | None]]]
    lengths: list[dict[str, float | None]] = Field(
        description="shares of the first 10 places by length of the video"
    )
    movers: dict[str, list[dict[str, Any]]] = Field(
        description="items that most requests gain or lose among the first 10"
    )
    findings: list[PlanFinding] = Field(description="warnings")


class ParamsPatch(BaseModel):
    """New values of plan-wide params: a number is the value, an object is merged in."""

    model_config = ConfigDict(extra="forbid", strict=True)

    params: dict[str, float | dict[str, float]] = Field(min_length=1, examples=[{"b": 1.6}])


class RollbackRequest(BaseModel):
    """Which version to publish again; when absent, the plan before, freezes aside."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Annotated[int, Field(ge=1)] | None = None


class FreezeRequest(BaseModel):
    """Serve one formula to everybody now, or, with null, the whole plan again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    formula: str | None
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]


class HistoryReply(BaseModel):
    """Published versions, newest first."""

    scene: str
    live: int
    history: list[dict[str, Any]]
    next: str | None = Field(description="`?before=` of the page after this one; null: the last")


class LibraryReply(BaseModel):
    """A version of a library; it is also the ETag."""

    version: int
    library: dict[str, Any]
    author: str
    message: str
    published_at: str
    signature: str | None = Field(None, description="see the plan's")


class LibrariesReply(BaseModel):
    """Every library, with its newest version."""

    libraries: dict[str, int]


class ReplicasReply(BaseModel):
    """What each replica runs: its version, models, what it refuses and why, and when it said so."""

    scene: str
    live: int
    replicas: dict[str, dict[str, Any]]


class AssignmentReply(BaseModel):
    """What a request would get, and how it comes to it."""

    scene: str
    plan: int
    model: str
    formula: str
    params: dict[str, float] = Field(description="those that the formula uses")
    assignments: dict[str, str]
    exp_id: str
    signs: dict[str, int]
    buckets: list[dict[str, Any]] = Field(description="bucket arithmetic, layer by layer")


class ServedArm(BaseModel):
    """What one arm was served."""

    arm: str
    planned: float = Field(description="share of the experiment's units")
    requests: int
    units: int = Field(description="distinct units in the sample")
    expected: float = Field(description="units if all were as planned")
    stopped: str | None = Field(description="why nobody gets it any more")


class ServedExperiment(BaseModel):
    """One experiment, and its sample-ratio check."""

    layer: str
    experiment: str
    percent: float = Field(description="share of the layer's traffic that may be in it now")
    when: str | None
    since: str
    one_in: int = Field(description="the sample has one in so many units")
    arms: list[ServedArm]
    chi_square: float
    p_value: float
    verdict: str = Field(description="as planned, mismatch (p < 0.001) or too few units")


class ExperimentsReply(BaseModel):
    """The experiments of a scene, as this replica served them."""

    scene: str
    plan: int
    replica: str = Field(description="whose counts these are: each has its own")
    experiments: list[ServedExperiment]


class Problem(BaseModel):
    """RFC 9457. `errors` names each place: a JSON pointer into the body, or a header."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[dict[str, Any]] = []
