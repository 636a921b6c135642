"""[[tasks]]: what is learned, and which heads come of it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.contract.features import Name
from service.contract.heads import SampleSpace
from training.config.table import Table
from training.config.watch import OrdinalWatch, QuantileWatch, Watch

# What the heads of this project's vocabulary mean; another head brings its own `meaning`.
MEANINGS = {
    "ctr": "P(click | impression)",
    "cvr": "P(conversion | click)",
    "ctcvr": "P(click and conversion | impression) = ctr * cvr",
    "vtr": "P(long view | impression)",
    "vcr": "expected completion ratio in [0, 1]",
    "like": "P(like | impression)",
}


class Debias(Table):
    """[tasks.debias]: learn over the rows of `propensity` what is observed in the task's space only
    (ESCM2, SIGIR 2022).

    Each observed row counts 1 / P(observed), as the propensity task predicts it: detached, and not
    below `floor`, which bounds a row's weight and costs some bias. "dr" adds an imputation tower
    beside the task, which predicts the loss of every row.
    """

    kind: Literal["ips", "dr"]
    propensity: Name  # a task with a tower, or a product: P(this task's space | its own space)
    floor: Annotated[float, Field(gt=0, le=1)] = 0.02
    self_normalised: bool = False  # ips: divide by the sum of the weights, not by the rows


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
    watch: Watch | None = None  # an amount beyond 0 … 1
    debias: Debias | None = None
    # Share of the negatives that sampling left in the log; the head is corrected for it.
    negative_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    calibrate: Literal["none", "platt", "isotonic"] = "none"  # on the validation days

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.product is not None and self.beside is not None:
            raise ValueError(f"task {self.name}: a product has no representation to stand beside")
        if self.product is not None and self.loss == "mse":
            raise ValueError(f"task {self.name}: the loss of a product is bce or none")
        if self.product is not None and len(self.product) < 2:
            raise ValueError(f"task {self.name}: a product has at least two factors")
        for key in ("watch", "debias", "negative_rate", "calibrate"):
            if self.product is not None and getattr(self, key) != _default(key):
                raise ValueError(
                    f"task {self.name}: {key} belongs to the factors of a product, not to it"
                )
        if self.watch is not None:
            self._consistent_watch()
        if self.debias is not None and self.loss_name == "none":
            raise ValueError(f"task {self.name}: debias weighs a loss, and it has none")
        if self.debias is not None and self.debias.kind == "dr" and self.debias.self_normalised:
            raise ValueError(f"task {self.name}: self_normalised is for ips")
        if self.negative_rate < 1 and self.kind != "binary":
            raise ValueError(f"task {self.name}: negative_rate is for a binary label")
        if self.beside is not None and self.calibrate != "none":
            raise ValueError(f"task {self.name}: only heads are calibrated, it is none")
        if self.beside is None and not self.says:
            raise ValueError(f"task {self.name}: say what the head means (meaning = ...)")
        return self

    def _consistent_watch(self) -> None:
        if self.kind != "regression":
            raise ValueError(f"task {self.name}: watch is for kind 'regression'")
        if self.loss not in (None, "none"):
            raise ValueError(f"task {self.name}: watch brings its own loss, not {self.loss!r}")
        if self.beside is None and self.unit == "probability":
            raise ValueError(f'task {self.name}: say the unit of the amount (unit = "s")')
        if self.debias is not None or self.calibrate != "none":
            raise ValueError(f"task {self.name}: debias and calibrate are for heads in 0 … 1")

    @property
    def outputs(self) -> int:
        """How many logits it has."""
        return self.watch.bins if isinstance(self.watch, OrdinalWatch) else 1

    @property
    def squared(self) -> bool:
        """Whether its loss is a squared error; otherwise it is a cross-entropy."""
        if self.watch is not None:
            return isinstance(self.watch, QuantileWatch)
        return self.loss_name == "mse"

    @property
    def imputed(self) -> bool:
        """Whether an imputation tower stands beside it."""
        return self.debias is not None and self.debias.kind == "dr"

    @property
    def says(self) -> str:
        return self.meaning or MEANINGS.get(self.name, "")

    @property
    def loss_name(self) -> Literal["bce", "mse", "watch", "none"]:
        if self.watch is not None:
            return self.loss or "watch"
        return self.loss or ("bce" if self.kind == "binary" else "mse")


def _default(key: str) -> object:
    return Task.model_fields[key].default
