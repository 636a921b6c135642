"""[train.balance]: how the tasks' losses share the gradient."""

from typing import Annotated, Literal

from pydantic import Field

from service.contract.features import Name
from training.config.table import Table

Positive = Annotated[float, Field(gt=0)]


class FixedBalance(Table):
    """The weights of the tasks, as they are."""

    kind: Literal["fixed"] = "fixed"


class DecayBalance(Table):
    """weight * rate^t (PLE, RecSys 2020, eq. 10), t the epochs or steps done. A rate may exceed
    1; tasks that `rates` leaves out keep their weight.
    """

    kind: Literal["decay"]
    rates: Annotated[dict[Name, Positive], Field(min_length=1)]
    unit: Literal["epoch", "step"] = "epoch"


class UncertaintyBalance(Table):
    """A learned log variance a task (Kendall et al., CVPR 2018)."""

    kind: Literal["uncertainty"]


class GradNormBalance(Table):
    """Gradients of like size on the last shared layer, larger for tasks that lag (Chen et al.,
    ICML 2018).
    """

    kind: Literal["gradnorm"]
    alpha: Annotated[float, Field(ge=0)] = 1.5  # how much a lagging task gains
    learning_rate: Positive = 0.025  # of the weights
    layer: str | None = None  # a parameter of the trunk; None: the last that all tasks reach


class DWABalance(Table):
    """More weight for losses that fell less in the last epoch (Liu et al., CVPR 2019)."""

    kind: Literal["dwa"]
    temperature: Positive = 2.0


class PCGradBalance(Table):
    """Gradients that contradict each other are projected (Yu et al., NeurIPS 2020).

    Costs one backward pass and one copy of all gradients a task.
    """

    kind: Literal["pcgrad"]


Balance = Annotated[
    FixedBalance | DecayBalance | UncertaintyBalance | GradNormBalance | DWABalance | PCGradBalance,
    Field(discriminator="kind"),
]
