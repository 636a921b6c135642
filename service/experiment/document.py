"""The plan document of DESIGN §6 as frozen types: who gets which formula and model in one scene.

Shapes and bounds of single values are checked here; what several must agree on is in `rules`.
Strict: a number is a JSON number, an unknown key is an error, nothing is converted.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from service.contract.features import Name
from service.experiment.hashes import BUCKETS, HashName
from service.experiment.reranking import Rerank

UNSTATED_BOUND = (
    100.0  # weights of the structured forms lie in -100 … 100 unless the plan says otherwise
)

Label = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")
]  # layer, experiment, arm
Scene = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
LetKey = Annotated[
    str, Field(pattern=rf"^{_IDENTIFIER}(\( *{_IDENTIFIER}( *, *{_IDENTIFIER})* *\))?$")
]
Unit = Annotated[str, Field(pattern=rf"^(user_id|request_id|time|context\.{_IDENTIFIER})$")]
Who = Annotated[str, Field(pattern=rf"^(user_id|request_id|context\.{_IDENTIFIER})$")]
Salt = Annotated[str, Field(min_length=1, max_length=128)]
Bucket = Annotated[int, Field(ge=0, lt=BUCKETS)]
Ranges = tuple[tuple[Bucket, Bucket], ...]  # inclusive


def read_instant(text: str) -> datetime:
    """An ISO 8601 date and time with its zone, like 2026-11-22T08:00:00Z.

    Raises:
        ValueError: it is none, or says no zone.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("write date, time and zone like 2026-11-22T08:00:00Z") from None
    if instant.tzinfo is None:
        raise ValueError("the time needs its zone, like 2026-11-22T08:00:00Z or …+08:00")
    return instant


def _instant(text: str) -> str:
    read_instant(text)
    return text


Instant = Annotated[str, AfterValidator(_instant)]

MOST_FORMULAS = 128  # each one is compiled whenever the plan is checked: 3 s of CPU at the longest
LEAST_CANDIDATES = 100  # a ranking of fewer is hardly one, where nothing is said


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Param(_Strict):
    """A number of a formula that experiments may change within its bounds."""

    value: Number
    min: Number
    max: Number


class Term(_Strict):
    """One head of an additive form: weight·head. A bare number is its weight."""

    weight: Number
    min: Number = -UNSTATED_BOUND
    max: Number = UNSTATED_BOUND

    @model_validator(mode="before")
    @classmethod
    def _bare_weight(cls, given: Any) -> Any:
        if given is None or isinstance(given, str | list):
            raise ValueError("must be a number, or an object with its weight")
        return {"weight": given} if isinstance(given, int | float) else given


class Factor(Term):
    """One head of a multiplicative form: (bias + scale·head)^weight. A bare n is head^n."""

    bias: Number = 0.0
    scale: Number = 1.0


class Videolen(_Strict):
    """How a structured form is combined with f(videolen_s); `scale_s` in seconds."""

    fn: Literal["linear", "log1p", "sqrt", "sigmoid", "tanh", "saturate", "decay"]
    scale_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    combine: Literal["*", "/"]


class FormulaSpec(_Strict):
    """A formula, as text (`score`) or in one of the structured forms that expand to text."""

    score: str | None = None
    multiplicative: Annotated[dict[Name, Factor], Field(min_length=1)] | None = None
    additive: Annotated[dict[Name, Term], Field(min_length=1)] | None = None
    videolen: Videolen | None = None
    let: dict[LetKey, str] = {}
    params: dict[Name, Param] = {}


class Default(_Strict):
    """What everybody gets whom no experiment takes."""

    formula: Name


class Settings(_Strict):
    """What an arm changes against the default.

    `perturb`: param -> σ. Every unit gets the param times exp(σ) or exp(-σ), one half each, the
    signs of several params independent: a factorial experiment that may run for ever.
    """

    params: dict[Name, Number] = {}
    formula: Name | None = None
    let: dict[LetKey, str] = {}
    model: str | None = None
    perturb: dict[Name, Annotated[float, Field(gt=0, le=1)]] = {}
    rerank: Rerank | None = None  # all rules, in place of the plan's


class Arm(_Strict):
    """One alternative of an experiment.

    Either every arm has its `share`, relative to the other arms', or every arm names its `slots`,
    ranges of the second hash; slots that no arm has are in no arm.

    `stopped` says why nobody gets the arm any more. It keeps its slots, so nobody else moves: who
    was in it is in no experiment of the layer and gets the default.
    """

    name: Label
    share: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    slots: Ranges | None = None
    set: Settings = Settings()
    stopped: Annotated[str, Field(min_length=1, max_length=500)] | None = None

    @property
    def applied(self) -> Settings:
        """What it changes now: nothing when it is stopped."""
        return self.set if self.stopped is None else Settings()


class RampStep(_Strict):
    """From the instant `at`, the experiment has `percent` of its layer's traffic."""

    at: Instant
    percent: Annotated[float, Field(ge=0, le=100)]


class Experiment(_Strict):
    """A test on inclusive bucket ranges of its layer.

    `seed` takes the place of the name in the arm's hash. With a `ramp`, the ranges are what the
    experiment may grow to: it takes their buckets one after another, in the order written, so
    nobody leaves it, and nobody is in it before the first step. `when` is a condition on `context.`
    and inline `user.` values; who does not meet it is in no experiment of the layer.
    """

    name: Label
    buckets: Ranges
    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    seed: Salt | None = None
    ramp: Annotated[tuple[RampStep, ...], Field(max_length=64)] = ()
    when: str | None = None


class Layer(_Strict):
    """An orthogonal slice of the traffic; a unit is in one experiment of it at most.

    `slice_s` makes it a switchback: the number of the time slice, counted from 1970 in UTC, joins
    the unit (`unit@slice`), and with the unit `time` it is all of it.
    """

    name: Label
    salt: Salt
    unit: Unit = "user_id"
    hash: HashName = "finerank"
    slice_s: Annotated[int, Field(ge=1, le=7 * 86_400)] | None = None
    experiments: tuple[Experiment, ...] = ()


class Holdout(_Strict):
    """Units that no experiment of any layer takes, to measure what all of them did together."""

    salt: Salt
    buckets: Ranges
    unit: Who = "user_id"


Share = Annotated[float, Field(ge=0, le=1)]


class Guardrails(_Strict):
    """When an arm is stopped by itself: limits for each arm, over its last `window_s`.

    `max_degraded_share`: of its requests, those that gave something up or were refused unscored.
    `max_invalid_share`: of its candidates, those without a finite score. Both, and the latency, are
    judged once an arm has `least_requests` in the window of one replica, and only blamed on an arm
    that is clearly worse than the rest of the scene's traffic: see `guardrails`.
    """

    max_degraded_share: Share | None = None
    max_invalid_share: Share | None = None
    max_p99_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    window_s: Annotated[float, Field(ge=5, le=3600)] = 30.0
    least_requests: Annotated[int, Field(ge=20, le=1_000_000)] = 100

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if {self.max_degraded_share, self.max_invalid_share, self.max_p99_ms} == {None}:
            raise ValueError("give a limit: max_degraded_share, max_invalid_share or max_p99_ms")
        return self


class Shadow(_Strict):
    """What is scored beside the answers and changes none of them, to see what it would change.

    A `formula` alone is scored on the heads of the answer, with its own params, whatever arm the
    request is in. With a `model`, the formula of the answer (or `formula`) is scored on the heads
    of that model. `share` of the requests: all by default, with a model 0.05.
    """

    formula: Name | None = None
    model: str | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.formula is None and self.model is None:
            raise ValueError("name a formula, a model, or both")
        return self

    @property
    def share_taken(self) -> float:
        if self.share is not None:
            return self.share
        return 1.0 if self.model is None else 0.05


class Step(_Strict):
    """What a request gets that has no time for more: a step down the ladder.

    `fewer`: as many candidates as fit, at least `least`, the first ones of the request; the others
    follow unscored. `model`: the package `model` in place of the treatment's. `input_order`: an
    answer without scores; a ladder that does not end with it refuses instead.
    """

    step: Literal["fewer", "model", "input_order"]
    least: Annotated[int, Field(ge=1)] = LEAST_CANDIDATES
    model: str | None = None


class Freeze(_Strict):
    """One formula for everybody, with its own params: no layer, holdout or forced user counts."""

    formula: Name
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]


class Plan(_Strict):
    """One scene's plan. `deadline_ms` is the default time budget of a request."""

    format: Literal[1]
    scene: Scene
    model: str
    deadline_ms: Annotated[float, Field(ge=1, le=5000, allow_inf_nan=False)] = 40.0
    formulas: Annotated[dict[Name, FormulaSpec], Field(min_length=1, max_length=MOST_FORMULAS)]
    default: Default
    layers: tuple[Layer, ...] = ()
    holdout: Holdout | None = None
    rerank: Rerank | None = None
    ladder: Annotated[tuple[Step, ...], Field(max_length=8)] = (
        Step(step="fewer"),
        Step(step="input_order"),
    )
    guardrails: Guardrails | None = None
    shadow: Shadow | None = None
    force: dict[str, dict[str, str]] = {}  # user id -> layer -> "experiment/arm"
    freeze: Freeze | None = None
    library: dict[Label, Annotated[int, Field(ge=1)]] = {}  # see `library`: written out by now
