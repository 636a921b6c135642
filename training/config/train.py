"""[train]: how a run learns."""

from typing import Annotated, Literal

from pydantic import Field

from service.contract.features import Name
from training.config.balance import Balance, FixedBalance
from training.config.table import Share, Table


class Calibrator(Table):
    """[train.calibrator]: AITM's behavioural expectation calibrator (KDD 2021).

    Adds weight * mean(max(p_t - p_(t-1), 0)) for neighbours of a chain of end-to-end probabilities:
    what comes later in the funnel is not likelier than what comes before.
    """

    chain: Annotated[tuple[Name, ...], Field(min_length=2)]
    weight: Annotated[float, Field(gt=0)] = 0.6


class Train(Table):
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
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a CUDA device where there is one
    bf16: bool = False  # compute the logits in bfloat16 (autocast); weights stay float32
    balance: Balance = FixedBalance()
    calibrator: Calibrator | None = None
