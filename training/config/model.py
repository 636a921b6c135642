"""[model]: what the network looks like."""

from typing import Annotated

from pydantic import Field

from training.config.table import Share, Table, Width
from training.config.trunks import Trunk


class Model(Table):
    """[model]: what the network looks like."""

    trunk: Trunk
    embedding: Width = 8
    towers: tuple[Width, ...] = (64,)
    dropout: Share = 0.2
    linear: bool = True  # a linear term beside the network
    log1p: tuple[str, ...] = ()  # value columns (patterns) that get log(1 + x) before standardising
    clip: Annotated[float, Field(gt=0)] = 5.0  # standardised values stay within ± this
