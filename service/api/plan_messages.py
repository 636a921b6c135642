"""What goes over the wire about plans, libraries and experiments.

As in `messages`: requests are validated by these models, replies are documented by them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


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
    findings: list[PlanFinding] = Field(
        description="warnings; one of them where this replica does not serve the version yet"
    )


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
    longer_than: dict[str, int] = Field(description="k -> requests with more than k candidates")
    overlap: dict[str, float] = Field(
        description="k -> share of the first k that stay there, over the requests with more than k"
        " candidates; without k where there is none, as in `means`"
    )
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
