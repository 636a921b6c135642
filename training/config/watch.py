"""[tasks.watch]: how watch seconds, or another amount beyond 0 … 1, are learned and read."""

from typing import Annotated, Literal

from pydantic import Field

from service.contract.features import Name
from training.config.table import Table


class OddsWatch(Table):
    """Weighted logistic regression (YouTube, RecSys 2016); the head is the odds e^z.

    `negatives` says what counts as a negative of weight 1. "every" row: the odds are the mean
    amount, E[y | x]. Rows where the amount is "zero": the paper's form, for logs with clicks; its
    odds are E[y | x] / P(y = 0 | x), above the mean by about the click rate.
    """

    kind: Literal["odds"]
    negatives: Literal["every", "zero"] = "every"


class OrdinalWatch(Table):
    """P(y reaches t_m) for `bins` thresholds t_m (CREAD, AAAI 2024), one output each; the head is
    the mean amount, summed from them.
    """

    kind: Literal["ordinal"]
    bins: Annotated[int, Field(ge=1, le=256)] = 16


class QuantileWatch(Table):
    """The rank of the amount among items of like duration (D2Q, KDD 2022), which has no duration
    left in it; the head is the amount that has this rank in its group.

    `duration` names a numeric feature. A package with such a head is served whole: its last layer
    reads that feature.
    """

    kind: Literal["quantile"]
    duration: Name
    groups: Annotated[int, Field(ge=1, le=256)] = 30


Watch = Annotated[OddsWatch | OrdinalWatch | QuantileWatch, Field(discriminator="kind")]
