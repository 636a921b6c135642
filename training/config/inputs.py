"""[[model.inputs]], [model.pooling], [model.towers_of.TASK]: what is read, and how."""

from typing import Annotated, Literal

from pydantic import Field

from service.contract.features import Name
from training.config.table import Share, Table, Width, Widths

Pattern = Annotated[str, Field(min_length=1)]  # of feature names, with `*`; `table.column` of rates
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1)]
Groups = tuple[Name, ...]  # names in [model.groups]
Pooling = Literal["mean", "sum", "max"]


class FMInput(Table):
    """The second-order term of DeepFM: products of all pairs of the features."""

    kind: Literal["fm"]
    features: Patterns = ("*",)
    name: Name = "fm"  # of what it adds, for groups and later blocks


class CrossInput(Table):
    """Cross layers of DCN-v2 over everything before them. Makes the trunk read mixed columns."""

    kind: Literal["cross"]
    layers: Width = 2
    rank: Width | None = None  # of the matrices; None: full


class AttentionInput(Table):
    """Target attention (DIN) over a sequence that shares a feature's ids: that feature is the
    target. The sequence then is not pooled as well, unless [model.pooling] names it.
    """

    kind: Literal["attention"]
    sequence: Name
    hidden: Width = 36  # of the activation unit
    softmax: bool = False  # normalise the weights; the paper does not
    name: Name | None = None  # of what it adds; None: "attention_" and the sequence


class SceneInput(Table):
    """EPNet of PEPNet: scale all columns by factors that the scene's features decide."""

    kind: Literal["scene"]
    scene: Patterns
    hidden: Width = 32


Input = Annotated[FMInput | CrossInput | AttentionInput | SceneInput, Field(discriminator="kind")]


class TowerGate(Table):
    """[model.tower_gate]: PPNet of PEPNet: factors for the input of every tower layer, decided by
    the prior features (user, item, author), a set for each task.
    """

    prior: Patterns
    hidden: Width = 32


class TowerOf(Table):
    """[model.towers_of.TASK]: one task's tower in place of the common one."""

    hidden: tuple[Width, ...] | None = None  # None: as `towers`
    dropout: Share | None = None
    reads: Groups | None = None  # groups beside the representation; None: as `towers_read`
    # A network of its own from its groups (all features if it reads none) to the tower, in place of
    # the trunk's representation.
    network: Widths | None = None
    scenes: Name | None = None  # a tower for every value of that categorical feature
