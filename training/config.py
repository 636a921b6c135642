"""What a run is made of: [data] and its companions, [model], [train], [[tasks]]; frozen."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.contract.features import Name
from service.contract.heads import SampleSpace
from training.data.config import (
    ColumnsConfig,
    DataConfig,
    FeaturesConfig,
    HistoryConfig,
    SyntheticConfig,
)

Width = Annotated[int, Field(ge=1)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, lt=1)]

# What the heads of this project's vocabulary mean; another head brings its own `meaning`.
MEANINGS = {
    "ctr": "P(click | impression)",
    "cvr": "P(conversion | click)",
    "ctcvr": "P(click and conversion | impression) = ctr * cvr",
    "vtr": "P(long view | impression)",
    "vcr": "expected completion ratio in [0, 1]",
    "like": "P(like | impression)",
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SharedBottomTrunk(_Strict):
    """One representation for all tasks."""

    kind: Literal["shared-bottom"]
    hidden: Widths


class MMoETrunk(_Strict):
    """Shared experts, one gate a task."""

    kind: Literal["mmoe"]
    experts: Width
    hidden: Widths


class CGCTrunk(_Strict):
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


class PLETrunk(_Strict):
    """Own and shared experts, several levels. Without shared ones its levels would have nothing to
    pass on.
    """

    kind: Literal["ple"]
    levels: Width
    own: Annotated[int, Field(ge=0)]
    shared: Width
    hidden: Widths


Trunk = Annotated[SharedBottomTrunk | MMoETrunk | CGCTrunk | PLETrunk, Field(discriminator="kind")]


class Model(_Strict):
    """[model]: what the network looks like."""

    trunk: Trunk
    embedding: Width = 8
    towers: tuple[Width, ...] = (64,)
    dropout: Share = 0.2
    linear: bool = True  # a linear term beside the network
    log1p: tuple[str, ...] = ()  # value columns (patterns) that get log(1 + x) before standardising
    clip: Annotated[float, Field(gt=0)] = 5.0  # standardised values stay within ± this


class Train(_Strict):
    """[train]: how it learns."""

    epochs: Annotated[int, Field(ge=1)] = 4
    minibatch: Annotated[int, Field(ge=1)] = 2048
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 3e-4  # L2, in the gradient that Adam rescales
    ema: Share = 0.99  # of the weights, per step; 0 turns averaging off
    seed: int = 1
    patience: Annotated[int, Field(ge=1)] = 1  # epochs without a better criterion before it stops
    # Metric names such as "ctr.auc[impression]", averaged with their directions; empty: the loss.
    criterion: tuple[str, ...] = ()
    refit: bool = False  # train once more on all days, for the epochs found
    checkpoint_every: Annotated[int, Field(ge=1)] = 200  # steps


class Task(_Strict):
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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.product is not None and self.beside is not None:
            raise ValueError(f"task {self.name}: a product has no representation to stand beside")
        if self.product is not None and self.loss == "mse":
            raise ValueError(f"task {self.name}: the loss of a product is bce or none")
        if self.beside is None and not self.says:
            raise ValueError(f"task {self.name}: say what the head means (meaning = ...)")
        return self

    @property
    def says(self) -> str:
        return self.meaning or MEANINGS.get(self.name, "")

    @property
    def loss_name(self) -> Literal["bce", "mse", "none"]:
        return self.loss or ("bce" if self.kind == "binary" else "mse")


class RunConfig(_Strict):
    """A whole run, named after its file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    data: DataConfig
    columns: ColumnsConfig | None = None
    features: FeaturesConfig = FeaturesConfig()
    history: HistoryConfig | None = None
    synthetic: SyntheticConfig = SyntheticConfig()
    model: Model
    train: Train = Train()
    tasks: tuple[Task, ...]
    slices: tuple[str, ...] = ()  # "tab=1": measure these rows apart, too

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [t.name for t in self.tasks]
        if not self.heads:
            raise ValueError("no [[tasks]] to serve")
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"tasks named twice: {', '.join(twice)}")
        towers = [t.name for t in self.tasks if t.product is None and t.beside is None]
        for task in self.tasks:
            for other in task.product or ((task.beside,) if task.beside else ()):
                if other not in towers:
                    raise ValueError(
                        f"task {task.name} refers to {other!r}, which is no task with a tower"
                        f" ({', '.join(towers)})"
                    )
        return self

    @property
    def heads(self) -> tuple[Task, ...]:
        """The tasks that are served, in order."""
        return tuple(t for t in self.tasks if t.beside is None)
